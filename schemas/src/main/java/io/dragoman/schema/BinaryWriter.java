package io.dragoman.schema;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumWriter;
import org.apache.avro.specific.SpecificRecordBase;

/**
 * Records of one schema to Avro binary behind a header, by the code that Avro generates for each record: Avro's writers
 * otherwise look up every field, and every string's class, again.
 *
 * <p>Threading: safe for many threads.
 */
public final class BinaryWriter {
    private static final SpecificData GENERATED = new SpecificData();

    static {
        GENERATED.setCustomCoders(true);
    }

    private final SpecificDatumWriter<SpecificRecordBase> writer;
    private final byte[] header;

    /** @param header what stands before every record, copied */
    public BinaryWriter(Schema schema, byte[] header) {
        this.writer = new SpecificDatumWriter<>(schema, GENERATED);
        this.header = header.clone();
    }

    public byte[] write(SpecificRecordBase record) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(4096);
        bytes.writeBytes(header);
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
        try {
            writer.write(record, encoder);
            encoder.flush();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }
}
