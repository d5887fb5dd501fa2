package io.dragoman.publish;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificRecordBase;

/** An Avro record to the bytes of a value. Implementations are safe for many threads. */
@FunctionalInterface
public interface RecordEncoder {
    /** Avro single-object encoding (C3 01, 8-byte fingerprint of the schema): needs no registry. */
    RecordEncoder SINGLE_OBJECT = (topic, record) -> {
        try {
            ByteBuffer bytes =
                    new BinaryMessageEncoder<SpecificRecordBase>(SpecificData.get(), record.getSchema()).encode(record);
            byte[] value = new byte[bytes.remaining()];
            bytes.get(value);
            return value;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    };

    byte[] encode(String topic, SpecificRecordBase record);
}
