package io.dragoman.ingest;

import io.dragoman.schema.SourceText;
import io.dragoman.schema.TrustedRecords;
import java.io.IOException;

/** An Avro value of the sentences topic to its record, whatever the wire format. */
@FunctionalInterface
public interface AvroSourceDecoder {
    /** Avro single-object encoding, for clusters without a schema registry. */
    AvroSourceDecoder SINGLE_OBJECT = value -> {
        TrustedRecords.register();
        return SourceText.getDecoder().decode(value);
    };

    /** @throws IOException when the bytes are no such record; decoders of strangers' bytes may also throw unchecked */
    SourceText decode(byte[] value) throws IOException;
}
