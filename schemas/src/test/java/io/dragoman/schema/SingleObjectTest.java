package io.dragoman.schema;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.avro.SchemaNormalization;
import org.apache.avro.SystemLimitException;
import org.junit.jupiter.api.Test;

/** Records to bytes and back, as they stand on the topics when there is no registry. */
class SingleObjectTest {
    static {
        TrustedRecords.register();
    }

    private static final Origin ORIGIN = new Origin("dragoman.sentences", 3, 41L, 1_700_000_000_000L);
    private static final Model MODEL = new Model("fr-en-tiny", "1.0.0", "ab12");

    @Test
    void shouldGiveASourceTextBack() throws IOException {
        SourceText text = new SourceText("id-1", "Où est-il\u00a0? 😀", "fr", "en", "high", Map.of("page", "7"));
        assertEquals(
                text,
                SourceText.getDecoder().decode(bytes(SourceText.getEncoder().encode(text))));
    }

    @Test
    void shouldLeaveAllButTheTextOfASourceTextOut() throws IOException {
        SourceText text = SourceText.newBuilder().setText("Bonjour").build();
        SourceText read =
                SourceText.getDecoder().decode(bytes(SourceText.getEncoder().encode(text)));
        assertEquals(new SourceText(null, "Bonjour", null, null, null, Map.of()), read);
    }

    @Test
    void shouldGiveATranslationBack() throws IOException {
        Translation translation = new Translation(
                "id-1",
                "Le chat",
                "The cat",
                "fr",
                "en",
                MODEL,
                -0.25,
                List.of(-0.5f, -0.25f, 0f),
                List.of(new Hypothesis("A cat", -1.5)),
                List.of(new Segment(0, 7, 0, 7, Cut.CLAUSE)),
                true,
                Map.of("length_ratio", 1.5),
                Map.of("page", "7"),
                ORIGIN,
                new Timings(12L, 3456L, 64),
                Extent.TRUNCATED);
        assertEquals(
                translation,
                Translation.getDecoder().decode(bytes(Translation.getEncoder().encode(translation))));
    }

    @Test
    void shouldGiveAnAlignmentBack() throws IOException {
        Alignment alignment = new Alignment(
                "id-1",
                "fr",
                "en",
                MODEL,
                List.of(new Token("▁Le", 0, 2, false), new Token("</s>", 2, 2, true)),
                List.of(new Token("▁The", 0, 3, false), new Token("</s>", 3, 3, true)),
                WeightEncoding.UINT8,
                0.002f,
                ByteBuffer.wrap(new byte[] {(byte) 255, 0, 0, (byte) 255}),
                List.of(new Link(0, 0)),
                List.of(new Link(0, 0)),
                2,
                List.of(1, 3),
                1,
                ORIGIN,
                List.of(new TokenSegment(0, 2, 0, 2)));
        assertEquals(
                alignment,
                Alignment.getDecoder().decode(bytes(Alignment.getEncoder().encode(alignment))));
    }

    @Test
    void shouldGiveARejectionBack() throws IOException {
        Rejection rejection = new Rejection(
                "id-1",
                RejectionReason.UNDECODABLE,
                "the value should be UTF-8 text: it is not",
                Stage.INGEST,
                ByteBuffer.wrap(new byte[] {1}),
                null,
                4,
                List.of(new Header("traceparent", ByteBuffer.wrap(new byte[] {2, 3})), new Header("empty", null)),
                ORIGIN);
        assertEquals(
                rejection,
                Rejection.getDecoder().decode(bytes(Rejection.getEncoder().encode(rejection))));
    }

    @Test
    void shouldBeginWithTheMarkAndTheFingerprintOfTheSchema() throws IOException {
        byte[] value = bytes(SourceText.getEncoder()
                .encode(SourceText.newBuilder().setText("x").build()));
        assertArrayEquals(new byte[] {(byte) 0xc3, 0x01}, Arrays.copyOf(value, 2));
        assertEquals(
                SchemaNormalization.parsingFingerprint64(SourceText.getClassSchema()),
                ByteBuffer.wrap(value, 2, 8).order(ByteOrder.LITTLE_ENDIAN).getLong());
    }

    @Test
    void shouldNotReserveMemoryForATextThatIsNotThere() throws IOException {
        ByteArrayOutputStream value = header();
        value.write(0); // no id
        varint(value, 1_500_000_000L); // length of the text
        value.write('x');
        assertThrows(SystemLimitException.class, () -> SourceText.getDecoder().decode(value.toByteArray()));
    }

    @Test
    void shouldNotReserveMemoryForAttributesThatAreNotThere() throws IOException {
        ByteArrayOutputStream value = header();
        value.write(0); // no id
        varint(value, 1);
        value.write('x');
        value.write(new byte[] {0, 0, 0}); // no languages, no priority
        varint(value, 2_000_000_000L); // attributes
        value.write(new byte[] {2, 'k', 2, 'v'});
        assertThrows(SystemLimitException.class, () -> SourceText.getDecoder().decode(value.toByteArray()));
    }

    @Test
    void shouldListTheRecordsOfTheTopics() {
        assertEquals(
                Set.of(SourceText.class, Translation.class, Alignment.class, Rejection.class),
                TrustedRecords.contracts());
    }

    private static ByteArrayOutputStream header() throws IOException {
        ByteArrayOutputStream value = new ByteArrayOutputStream();
        value.write(Arrays.copyOf(
                bytes(SourceText.getEncoder()
                        .encode(SourceText.newBuilder().setText("x").build())),
                10));
        return value;
    }

    /** Avro's zigzag coding of a long. */
    private static void varint(ByteArrayOutputStream to, long number) {
        long left = number << 1 ^ number >> 63;
        while ((left & ~0x7fL) != 0) {
            to.write((int) (left & 0x7f | 0x80));
            left >>>= 7;
        }
        to.write((int) left);
    }

    private static byte[] bytes(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }
}
