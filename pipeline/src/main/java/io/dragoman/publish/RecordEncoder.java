package io.dragoman.publish;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificRecordBase;

/** An Avro record to the bytes of a value. Implementations are safe for many threads. */
@FunctionalInterface
public interface RecordEncoder {
    byte[] encode(String topic, SpecificRecordBase record);

    /** Avro single-object encoding (C3 01, 8-byte fingerprint of the schema): needs no registry. */
    static RecordEncoder singleObject() {
        // An encoder takes its schema's fingerprint when it is made, which costs more than encoding a record.
        Map<Class<?>, BinaryMessageEncoder<SpecificRecordBase>> encoders = new ConcurrentHashMap<>();
        return (topic, record) -> {
            BinaryMessageEncoder<SpecificRecordBase> encoder = encoders.computeIfAbsent(
                    record.getClass(), type -> new BinaryMessageEncoder<>(SpecificData.get(), record.getSchema()));
            try {
                ByteBuffer bytes = encoder.encode(record);
                byte[] value = new byte[bytes.remaining()];
                bytes.get(value);
                return value;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        };
    }
}
