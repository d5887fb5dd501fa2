package io.dragoman.ingest;

import io.dragoman.schema.SourceText;
import io.dragoman.schema.TrustedRecords;
import io.dragoman.wire.ConfluentFormat;
import java.io.IOException;

/** An Avro value of the sentences topic to its record, whatever the wire format. */
@FunctionalInterface
public interface AvroSourceDecoder {
    /** Avro single-object encoding, for clusters without a schema registry. */
    AvroSourceDecoder SINGLE_OBJECT = value -> {
        TrustedRecords.register();
        return SourceText.getDecoder().decode(value);
    };

    /** Confluent's wire format, with a schema registry. */
    static AvroSourceDecoder confluent(ConfluentFormat format) {
        return value -> format.decode(value, SourceText.class);
    }

    /** @throws IOException when the bytes are no such record; decoders of strangers' bytes may also throw unchecked */
    SourceText decode(byte[] value) throws IOException;
}
