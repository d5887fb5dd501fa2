package io.dragoman.wire;

import io.dragoman.schema.BinaryWriter;
import io.dragoman.schema.TrustedRecords;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.avro.specific.SpecificRecordBase;

/**
 * Confluent's wire format: a zero byte, the schema's id in 4 bytes, Avro binary. Subjects are {@code <topic>-value}.
 *
 * <p>Threading: safe for many threads. Schemas are asked for once each.
 */
public final class ConfluentFormat {
    private static final byte MAGIC = 0;
    private static final int HEADER = 5;

    private final SchemaRegistry registry;
    private final boolean autoRegister;
    private final Map<String, BinaryWriter> writers = new ConcurrentHashMap<>();
    private final Map<Integer, Schema> schemas = new ConcurrentHashMap<>();

    /**
     * @param userInfo {@code user:password} for the registry, or empty
     * @param autoRegister whether schemas that are new are registered; otherwise they have to be there
     */
    public ConfluentFormat(String url, String userInfo, boolean autoRegister) {
        TrustedRecords.register();
        this.registry = new SchemaRegistry(url, userInfo);
        this.autoRegister = autoRegister;
    }

    /**
     * Asks for the id of the schema that {@code topic} will hold, so that no record has to wait for it.
     *
     * @throws RegistryException when the registry does not answer or refuses the schema
     */
    public void prepare(String topic, Schema schema) {
        writer(topic, schema);
    }

    private BinaryWriter writer(String topic, Schema schema) {
        return writers.computeIfAbsent(topic, t -> {
            String subject = t + "-value";
            int id = autoRegister ? registry.register(subject, schema) : registry.lookUp(subject, schema);
            return new BinaryWriter(
                    schema, ByteBuffer.allocate(HEADER).put(MAGIC).putInt(id).array());
        });
    }

    /** @throws RegistryException when the topic was not prepared and the registry does not answer */
    public byte[] encode(String topic, SpecificRecordBase record) {
        return writer(topic, record.getSchema()).write(record);
    }

    /**
     * Reads a record written with any schema that the class's own can resolve.
     *
     * @throws IOException when the bytes are not such a record
     * @throws RegistryException when the registry does not answer
     */
    public <T extends SpecificRecordBase> T decode(byte[] value, Class<T> type) throws IOException {
        Schema reader = SpecificData.get().getSchema(type);
        if (value.length < HEADER || value[0] != MAGIC) {
            throw new IOException("it does not start with a zero byte and a schema id");
        }
        int id = ByteBuffer.wrap(value, 1, Integer.BYTES).getInt();
        Schema known = schemas.get(id);
        Schema writer = known != null ? known : fetch(id);
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(value, HEADER, value.length - HEADER, null);
        T record = new SpecificDatumReader<T>(writer, reader).read(null, decoder);
        if (!decoder.isEnd()) {
            throw new IOException("bytes are left after the record");
        }
        return record;
    }

    private Schema fetch(int id) throws IOException {
        Schema found = registry.schema(id)
                .orElseThrow(() -> new IOException("the schema registry has no schema with the id " + id));
        schemas.put(id, found);
        return found;
    }
}
