package io.dragoman.ingest;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import io.dragoman.config.LanguagePair;
import io.dragoman.config.Priority;
import io.dragoman.ingest.Refusal.Reason;
import io.dragoman.ingest.Refusal.Stage;
import io.dragoman.ingest.SourceTextReader.Format;
import java.util.HexFormat;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SourceTextReaderTest {
    private static final Origin ORIGIN = new Origin("dragoman.sentences", 2, 17, 1_700_000_000_000L);
    private static final LanguagePair FR_EN = new LanguagePair("fr", "en");
    private static final LanguagePair DE_EN = new LanguagePair("de", "en");

    private final SourceTextReader reader = reader(10_000);

    private static SourceTextReader reader(int maxCharacters) {
        return new SourceTextReader(
                Format.TEXT, AvroSourceDecoder.SINGLE_OBJECT, FR_EN, Set.of(FR_EN, DE_EN), maxCharacters);
    }

    @Test
    void shouldTakeTheTextAsItIs() {
        String text = "  Où est-il\u00a0?\t😀 \u200b\r\n";
        SourceText accepted = accepted(reader.read(ORIGIN, new RecordHeaders(), text.getBytes(UTF_8)));
        assertEquals(new SourceText("dragoman.sentences-2-17", text, FR_EN, Priority.NORMAL, Map.of()), accepted);
    }

    @ParameterizedTest
    @CsvSource({"high, HIGH", "' LOW ', LOW", "Normal, NORMAL", "urgent!, NORMAL", "'', NORMAL"})
    void shouldTakeThePriorityFromTheHeader(String header, Priority expected) {
        Headers headers = new RecordHeaders().add("priority", header.getBytes(UTF_8));
        Ingested ingested = reader.read(ORIGIN, headers, "Bonjour".getBytes(UTF_8));
        assertEquals(expected, ((Ingested.Accepted) ingested).text().priority());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " ", "\t", "\t\t \r\n", "\u00a0", "\u2003\u3000\u2028"})
    void shouldRefuseATextOfWhiteSpaceAsEmpty(String text) {
        Refusal refusal = refused(text);
        assertEquals(
                new Refusal(
                        "dragoman.sentences-2-17",
                        Reason.EMPTY,
                        Stage.INGEST,
                        "there should be a text: it is empty or white space only"),
                refusal);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "\u200b", // zero width space
                "\ufeff", // byte order mark
                "\u200b \ufeff",
                "\u0000",
                "\u0007\u001b\u007f\u0085\u009f",
                "\u00ad\u200e\u202e\u2066",
                "\ud83f\udfff", // no character
                "\udb40\udc01" // language tag
            })
    void shouldRefuseATextWithNothingToSee(String text) {
        Refusal refusal = refused(text);
        assertEquals(Reason.CONTROL_CHARACTERS_ONLY, refusal.reason());
        assertEquals(Stage.INGEST, refusal.stage());
        assertEquals(
                "there should be a visible character: all " + text.length() + " are control characters",
                refusal.explanation());
    }

    @ParameterizedTest
    @CsvSource({
        "80, a byte that continues nothing",
        "61bf62, the same inside a text",
        "c3, a letter cut off at the end",
        "e282, a sign cut off at the end",
        "f09f98, an emoji cut off at the end",
        "c328, a letter cut off by another",
        "c0af, a slash in two bytes",
        "e080af, a slash in three bytes",
        "f08080af, a slash in four bytes",
        "c080, a zero in two bytes",
        "eda080, half a surrogate pair",
        "edb080, the other half",
        "eda0bdedb880, an emoji as a surrogate pair",
        "f4908080, beyond the last code point",
        "f888808080, five bytes",
        "fc8480808080, six bytes",
        "fe, never in UTF-8",
        "ff, never in UTF-8",
        "fffe61006200, UTF-16",
        "e974e9, Latin-1"
    })
    void shouldRefuseWhatIsNoUtf8(String bytes, String what) {
        Ingested ingested =
                reader.read(ORIGIN, new RecordHeaders(), HexFormat.of().parseHex(bytes));
        Refusal refusal = refusal(ingested);
        assertEquals(
                new Refusal(
                        "dragoman.sentences-2-17",
                        Reason.UNDECODABLE,
                        Stage.INGEST,
                        "the value should be UTF-8 text: it is not"),
                refusal,
                what);
    }

    @Test
    void shouldRefuseATextLongerThanTheLimit() {
        assertEquals("a".repeat(10_000), accepted(read("a".repeat(10_000))).text());
        assertEquals(
                new Refusal(
                        "dragoman.sentences-2-17",
                        Reason.TOO_LONG,
                        Stage.INGEST,
                        "a text should have at most 10000 characters (text.max.characters): has 10001"),
                refused("a".repeat(10_001)));
    }

    @Test
    void shouldRefuseAMegabyteOfOneLetter() {
        Refusal refusal = refused("a".repeat(1 << 20));
        assertEquals(Reason.TOO_LONG, refusal.reason());
        assertEquals(
                "a text should have at most 10000 characters (text.max.characters): has 1048576",
                refusal.explanation());
        assertEquals(
                1 << 20,
                accepted(reader(1 << 20)
                                .read(
                                        ORIGIN,
                                        new RecordHeaders(),
                                        "a".repeat(1 << 20).getBytes(UTF_8)))
                        .text()
                        .length());
    }

    @Test
    void shouldCountUtf16Units() {
        assertInstanceOf(Ingested.Accepted.class, reader(4).read(ORIGIN, new RecordHeaders(), "😀😀".getBytes(UTF_8)));
        assertInstanceOf(Ingested.Refused.class, reader(4).read(ORIGIN, new RecordHeaders(), "😀😀a".getBytes(UTF_8)));
    }

    @Test
    void shouldTakeLanguagesFromTheHeaders() {
        Headers headers = new RecordHeaders()
                .add("source-language", "de".getBytes(UTF_8))
                .add("target-language", "EN".getBytes(UTF_8));
        assertEquals(
                DE_EN,
                accepted(reader.read(ORIGIN, headers, "Hallo".getBytes(UTF_8))).languages());
    }

    @Test
    void shouldTakeTheLastOfTwoHeaders() {
        Headers headers = new RecordHeaders()
                .add("source-language", "xx".getBytes(UTF_8))
                .add("source-language", "de".getBytes(UTF_8));
        assertEquals(
                DE_EN,
                accepted(reader.read(ORIGIN, headers, "Hallo".getBytes(UTF_8))).languages());
    }

    @Test
    void shouldTakeTheDefaultForABlankOrMissingHeader() {
        Headers headers = new RecordHeaders().add("source-language", null).add("target-language", " ".getBytes(UTF_8));
        assertEquals(
                FR_EN,
                accepted(reader.read(ORIGIN, headers, "Salut".getBytes(UTF_8))).languages());
    }

    @Test
    void shouldRefuseAPairWithoutAModel() {
        Headers headers = new RecordHeaders().add("target-language", "it".getBytes(UTF_8));
        assertEquals(
                new Refusal(
                        "dragoman.sentences-2-17",
                        Reason.UNKNOWN_LANGUAGE_PAIR,
                        Stage.INGEST,
                        "the languages should be one of [de-en, fr-en]: were fr-it"),
                refusal(reader.read(ORIGIN, headers, "Salut".getBytes(UTF_8))));
    }

    @Test
    void shouldNotRepeatWhatIsNoLanguageCode() {
        Headers headers = new RecordHeaders().add("source-language", new byte[] {0x1b, '[', '2', 'J', (byte) 0xff});
        assertEquals(
                "the languages should be one of [de-en, fr-en]: were not language codes",
                refusal(reader.read(ORIGIN, headers, "Salut".getBytes(UTF_8))).explanation());
    }

    @Test
    void shouldAnswerAnyBytes() {
        Random random = new Random(20_151);
        SourceTextReader avro =
                new SourceTextReader(Format.AVRO, AvroSourceDecoder.SINGLE_OBJECT, FR_EN, Set.of(FR_EN), 100);
        for (int i = 0; i < 20_000; i++) {
            byte[] value = new byte[random.nextInt(40)];
            random.nextBytes(value);
            byte[] language = new byte[random.nextInt(4)];
            random.nextBytes(language);
            Headers headers = new RecordHeaders().add("source-language", language);
            assertNotNull(reader.read(ORIGIN, headers, value));
            assertInstanceOf(Ingested.Refused.class, avro.read(ORIGIN, headers, value));
        }
    }

    @Test
    void shouldNotRepeatTheTextInAnExplanation() {
        SourceTextReader strict = reader(3);
        assertFalse(refusal(strict.read(ORIGIN, new RecordHeaders(), "secret".getBytes(UTF_8)))
                .explanation()
                .contains("secret"));
    }

    private Ingested read(String text) {
        return reader.read(ORIGIN, new RecordHeaders(), text.getBytes(UTF_8));
    }

    private Refusal refused(String text) {
        return refusal(read(text));
    }

    private static Refusal refusal(Ingested ingested) {
        return assertInstanceOf(Ingested.Refused.class, ingested).refusal();
    }

    private static SourceText accepted(Ingested ingested) {
        return assertInstanceOf(Ingested.Accepted.class, ingested).text();
    }
}
