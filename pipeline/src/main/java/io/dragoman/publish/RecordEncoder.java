package io.dragoman.publish;

import io.dragoman.schema.BinaryWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.avro.Schema;
import org.apache.avro.SchemaNormalization;
import org.apache.avro.specific.SpecificRecordBase;

/** An Avro record to the bytes of a value. Implementations are safe for many threads. */
@FunctionalInterface
public interface RecordEncoder {
    byte[] encode(String topic, SpecificRecordBase record);

    /** Avro single-object encoding (C3 01, 8-byte fingerprint of the schema): needs no registry. */
    static RecordEncoder singleObject() {
        // taking a schema's fingerprint costs more than encoding a record
        Map<Class<?>, BinaryWriter> writers = new ConcurrentHashMap<>();
        return (topic, record) -> writers.computeIfAbsent(
                        record.getClass(), type -> new BinaryWriter(record.getSchema(), header(record.getSchema())))
                .write(record);
    }

    private static byte[] header(Schema schema) {
        return ByteBuffer.allocate(10)
                .order(ByteOrder.LITTLE_ENDIAN)
                .put((byte) 0xC3)
                .put((byte) 1)
                .putLong(SchemaNormalization.parsingFingerprint64(schema))
                .array();
    }
}
