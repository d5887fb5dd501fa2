package io.dragoman.ingest;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.config.LanguagePair;
import io.dragoman.config.Priority;
import io.dragoman.ingest.Refusal.Reason;
import io.dragoman.ingest.Refusal.Stage;
import io.dragoman.ingest.SourceTextReader.Format;
import io.dragoman.schema.Header;
import io.dragoman.schema.TrustedRecords;
import io.dragoman.wire.RegistryException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.junit.jupiter.api.Test;

/** The Avro record of the sentences topic, from friends and from strangers. */
class AvroSourceTest {
    static {
        TrustedRecords.register();
    }

    private static final Origin ORIGIN = new Origin("dragoman.sentences", 2, 17, 1_700_000_000_000L);
    private static final LanguagePair FR_EN = new LanguagePair("fr", "en");
    private static final LanguagePair DE_EN = new LanguagePair("de", "en");

    private final SourceTextReader reader = reader(AvroSourceDecoder.SINGLE_OBJECT);

    private static SourceTextReader reader(AvroSourceDecoder decoder) {
        return new SourceTextReader(Format.AVRO, decoder, FR_EN, Set.of(FR_EN, DE_EN), 1000);
    }

    @Test
    void shouldTakeEveryField() throws IOException {
        byte[] value = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setId("chapter-1")
                .setText("Guten\tTag 😀")
                .setSourceLanguage("DE")
                .setTargetLanguage("en")
                .setPriority("high")
                .setAttributes(Map.of("page", "7"))
                .build());
        assertEquals(
                new SourceText("chapter-1", "Guten\tTag 😀", DE_EN, Priority.HIGH, Map.of("page", "7")),
                accepted(reader.read(ORIGIN, new RecordHeaders(), value)));
    }

    @Test
    void shouldRefuseAnIdAndAttributesThatWouldNotFitIntoTheResults() throws IOException {
        byte[] value = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setId("i".repeat(15_000))
                .setText("Guten Tag")
                .setAttributes(Map.of("page", "7".repeat(5_000)))
                .build());
        Refusal refusal = assertInstanceOf(Ingested.Refused.class, reader.read(ORIGIN, new RecordHeaders(), value))
                .refusal();
        assertEquals(
                new Refusal(
                        "dragoman.sentences-2-17",
                        Reason.TOO_LONG,
                        Stage.INGEST,
                        "id and attributes should have at most 20000 characters together: have 20004"),
                refusal);
    }

    @Test
    void shouldTakeTheOriginForIdAndTheDefaultsForLanguages() throws IOException {
        byte[] value = bytes(
                io.dragoman.schema.SourceText.newBuilder().setText("Bonjour").build());
        assertEquals(
                new SourceText("dragoman.sentences-2-17", "Bonjour", FR_EN, Priority.NORMAL, Map.of()),
                accepted(reader.read(ORIGIN, new RecordHeaders(), value)));
    }

    @Test
    void shouldTakeTheRecordsLanguageBeforeTheHeaders() throws IOException {
        Headers headers = new RecordHeaders().add("source-language", "fr".getBytes(UTF_8));
        byte[] value = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setText("Guten Tag")
                .setSourceLanguage("de")
                .build());
        assertEquals(DE_EN, accepted(reader.read(ORIGIN, headers, value)).languages());
    }

    @Test
    void shouldTakeTheHeadersLanguageWhenTheRecordHasNone() throws IOException {
        Headers headers = new RecordHeaders().add("source-language", "de".getBytes(UTF_8));
        byte[] value = bytes(
                io.dragoman.schema.SourceText.newBuilder().setText("Guten Tag").build());
        assertEquals(DE_EN, accepted(reader.read(ORIGIN, headers, value)).languages());
    }

    @Test
    void shouldRefuseUnderTheProducersId() throws IOException {
        byte[] empty = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setId("a")
                .setText(" ")
                .build());
        byte[] control = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setId("b")
                .setText("\u200b")
                .build());
        byte[] longText = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setId("c")
                .setText("a".repeat(1001))
                .build());
        byte[] italian = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setId("d")
                .setText("Ciao")
                .setSourceLanguage("it")
                .build());
        assertRefused("a", Reason.EMPTY, empty);
        assertRefused("b", Reason.CONTROL_CHARACTERS_ONLY, control);
        assertRefused("c", Reason.TOO_LONG, longText);
        assertRefused("d", Reason.UNKNOWN_LANGUAGE_PAIR, italian);
    }

    @Test
    void shouldRefuseWhatIsNoAvroAsUndecodable() {
        assertRefused("dragoman.sentences-2-17", Reason.UNDECODABLE, new byte[0]);
        assertRefused("dragoman.sentences-2-17", Reason.UNDECODABLE, "Bonjour le monde".getBytes(UTF_8));
        Refusal refusal = refusal(reader.read(ORIGIN, new RecordHeaders(), new byte[] {1, 2, 3}));
        assertTrue(refusal.explanation().startsWith("the value should be an Avro SourceText: "), refusal.explanation());
    }

    @Test
    void shouldRefuseARecordOfAnotherSchema() throws IOException {
        ByteBuffer other = Header.getEncoder().encode(new Header("a", null));
        assertRefused("dragoman.sentences-2-17", Reason.UNDECODABLE, bytes(other));
    }

    @Test
    void shouldRefuseARecordCutOffAnywhere() throws IOException {
        byte[] value = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setId("id")
                .setText("Bonjour")
                .setAttributes(Map.of("page", "7"))
                .build());
        for (int length = 0; length < value.length; length++) {
            assertRefused("dragoman.sentences-2-17", Reason.UNDECODABLE, Arrays.copyOf(value, length));
        }
    }

    @Test
    void shouldAnswerARecordWithAnyByteChanged() throws IOException {
        Random random = new Random(7);
        byte[] value = bytes(io.dragoman.schema.SourceText.newBuilder()
                .setId("id")
                .setText("Bonjour le monde")
                .setSourceLanguage("fr")
                .setAttributes(new HashMap<>(Map.of("page", "7", "line", "12")))
                .build());
        int refused = 0;
        for (int i = 0; i < 20_000; i++) {
            byte[] changed = value.clone();
            for (int j = 0; j <= random.nextInt(3); j++) {
                changed[random.nextInt(changed.length)] = (byte) random.nextInt(256);
            }
            refused += reader.read(ORIGIN, new RecordHeaders(), changed) instanceof Ingested.Refused ? 1 : 0;
        }
        assertTrue(refused > 5000, "most changes break the record: " + refused);
    }

    @Test
    void shouldRefuseATextWithHalvesOfSurrogatePairsOnly() {
        SourceTextReader halves = reader(value -> io.dragoman.schema.SourceText.newBuilder()
                .setText("\ud83d \udc00")
                .build());
        assertEquals(
                Reason.CONTROL_CHARACTERS_ONLY,
                refusal(halves.read(ORIGIN, new RecordHeaders(), new byte[0])).reason());
    }

    @Test
    void shouldRefuseWhenADecoderThrows() {
        SourceTextReader broken = reader(value -> {
            throw new IndexOutOfBoundsException("at 12");
        });
        assertEquals(
                "the value should be an Avro SourceText: at 12",
                refusal(broken.read(ORIGIN, new RecordHeaders(), new byte[0])).explanation());
    }

    @Test
    void shouldNotBlameTheRecordForASilentRegistry() {
        SourceTextReader silent = reader(value -> {
            throw new RegistryException("the schema registry does not answer");
        });
        assertThrows(RegistryException.class, () -> silent.read(ORIGIN, new RecordHeaders(), new byte[0]));
    }

    private void assertRefused(String id, Reason reason, byte[] value) {
        Refusal refusal = refusal(reader.read(ORIGIN, new RecordHeaders(), value));
        assertEquals(id, refusal.id());
        assertEquals(reason, refusal.reason());
        assertEquals(Stage.INGEST, refusal.stage());
    }

    private static byte[] bytes(io.dragoman.schema.SourceText record) throws IOException {
        return bytes(io.dragoman.schema.SourceText.getEncoder().encode(record));
    }

    private static byte[] bytes(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    private static Refusal refusal(Ingested ingested) {
        return assertInstanceOf(Ingested.Refused.class, ingested).refusal();
    }

    private static SourceText accepted(Ingested ingested) {
        return assertInstanceOf(Ingested.Accepted.class, ingested).text();
    }
}
