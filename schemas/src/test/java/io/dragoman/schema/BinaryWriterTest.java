package io.dragoman.schema;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.specific.SpecificDatumWriter;
import org.apache.avro.specific.SpecificRecordBase;
import org.junit.jupiter.api.Test;

class BinaryWriterTest {
    private static final byte[] HEADER = {7, 8, 9};

    static {
        TrustedRecords.register();
    }

    @Test
    void shouldWriteWhatAvroWritesBehindTheHeader() throws Exception {
        Alignment alignment = Alignment.newBuilder()
                .setId("a-0-1")
                .setSourceLanguage("fr")
                .setTargetLanguage("en")
                .setModel(new Model("m", "1.0.0", "ab"))
                .setSourceTokens(List.of(new Token("▁été", 0, 3, false), new Token("</s>", 3, 3, true)))
                .setTargetTokens(List.of(new Token("▁summer", 0, 6, false)))
                .setEncoding(WeightEncoding.FLOAT32)
                .setEncodingError(0)
                .setWeights(ByteBuffer.wrap(new byte[] {1, 2, 3, 4, 5, 6, 7, 8}))
                .setTokenLinks(List.of(new Link(0, 0)))
                .setWordLinks(List.of())
                .setOrigin(new Origin("sentences", 3, 1L << 40, -1L))
                .build();
        Rejection rejection = Rejection.newBuilder()
                .setId("r")
                .setReason(RejectionReason.EMPTY)
                .setExplanation("")
                .setStage(Stage.INGEST)
                .setKey(null)
                .setValue(ByteBuffer.wrap(new byte[0]))
                .setValueBytes(0)
                .setHeaders(List.of(new Header("k", null)))
                .setOrigin(new Origin("sentences", 0, 0L, 0L))
                .build();
        SourceText text = SourceText.newBuilder()
                .setText("x")
                .setAttributes(Map.of("k", "v"))
                .build();
        for (SpecificRecordBase record : List.of(alignment, rejection, text)) {
            byte[] written = new BinaryWriter(record.getSchema(), HEADER).write(record);
            assertArrayEquals(HEADER, java.util.Arrays.copyOf(written, HEADER.length));
            assertEquals(
                    ByteBuffer.wrap(plain(record)),
                    ByteBuffer.wrap(written, HEADER.length, written.length - HEADER.length));
        }
    }

    private static byte[] plain(SpecificRecordBase record) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
        new SpecificDatumWriter<SpecificRecordBase>(record.getSchema()).write(record, encoder);
        encoder.flush();
        return bytes.toByteArray();
    }
}
