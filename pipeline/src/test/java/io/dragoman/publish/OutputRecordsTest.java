package io.dragoman.publish;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.config.LanguagePair;
import io.dragoman.config.Priority;
import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.FakeTranslationModel;
import io.dragoman.infer.Hypothesis;
import io.dragoman.infer.Outcome;
import io.dragoman.ingest.Origin;
import io.dragoman.ingest.Refusal;
import io.dragoman.ingest.SourceText;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Cut;
import io.dragoman.schema.Extent;
import io.dragoman.schema.Header;
import io.dragoman.schema.Link;
import io.dragoman.schema.Model;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.RejectionReason;
import io.dragoman.schema.Segment;
import io.dragoman.schema.Stage;
import io.dragoman.schema.Timings;
import io.dragoman.schema.Token;
import io.dragoman.schema.TokenSegment;
import io.dragoman.schema.Translation;
import io.dragoman.schema.TrustedRecords;
import io.dragoman.schema.WeightEncoding;
import io.dragoman.tokenize.Segmentation.Pieces;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TinyTokenizer;
import io.dragoman.tokenize.TokenizedText;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class OutputRecordsTest {
    private static final Origin ORIGIN = new Origin("dragoman.sentences", 3, 41, 1_700_000_000_000L);
    private static final io.dragoman.schema.Origin WRITTEN_ORIGIN =
            new io.dragoman.schema.Origin("dragoman.sentences", 3, 41L, 1_700_000_000_000L);
    private static final BundleManifest MANIFEST = FakeTranslationModel.manifest("fr", "en", 20);
    private static final SourceText TEXT =
            new SourceText("id-1", " le chat ", new LanguagePair("fr", "en"), Priority.NORMAL, Map.of("page", "7"));
    private static final long[] THE_CAT = {303, 305, 2};

    private static SubwordTokenizer tokenizer;
    private static TokenizedText source;

    @BeforeAll
    static void open() {
        TrustedRecords.register();
        tokenizer = TinyTokenizer.open();
        source = tokenizer.tokenize(TEXT.text());
    }

    @AfterAll
    static void close() {
        tokenizer.close();
    }

    private static OutputRecords records(String encoding, int maxAlignmentBytes, int nBest) {
        return new OutputRecords(new OutputRecords.Settings(
                RecordEncoder.singleObject(), "t", "a", "r", encoding, maxAlignmentBytes, 10, nBest));
    }

    private static Outcome.Translated outcome(Hypothesis... hypotheses) {
        return new Outcome.Translated(List.of(hypotheses), Duration.ofNanos(1_234_567), Duration.ofMillis(20), 64);
    }

    private static Hypothesis hypothesis(long... ids) {
        return FakeTranslationModel.hypothesis(source, ids);
    }

    private static OutputRecords.Values values(OutputRecords records, Hypothesis... hypotheses) {
        return records.values(TEXT, Pieces.whole(source), List.of(outcome(hypotheses)), MANIFEST, tokenizer, ORIGIN);
    }

    private static Translation translation(OutputRecords.Values values) throws IOException {
        return Translation.getDecoder().decode(values.translation());
    }

    private static Alignment alignment(OutputRecords.Values values) throws IOException {
        return Alignment.getDecoder().decode(values.alignment().orElseThrow());
    }

    @Test
    void shouldFillEveryFieldOfATranslation() throws IOException {
        Hypothesis best = new Hypothesis(
                THE_CAT,
                new float[] {-0.5f, -0.25f, -0.75f},
                Optional.of(new AlignmentMatrix(3, 3, new float[] {1, 0, 0, 0, 1, 0, 0, 0, 1})),
                false);
        Translation translation = translation(values(records("float32", 900_000, 1), best));
        assertEquals(
                new Translation(
                        "id-1",
                        " le chat ",
                        "the cat",
                        "fr",
                        "en",
                        new Model("fr-en-tiny", "1.2.3", "cafe"),
                        -0.5,
                        List.of(-0.5f, -0.25f, -0.75f),
                        List.of(),
                        List.of(new Segment(0, 9, 0, 7, Cut.TEXT)),
                        false,
                        Map.of("length_ratio", 1.0, "attention_entropy", 0.0),
                        Map.of("page", "7"),
                        WRITTEN_ORIGIN,
                        new Timings(1234L, 20_000L, 64),
                        Extent.WHOLE),
                translation);
    }

    @Test
    void shouldFillEveryFieldOfAnAlignment() throws IOException {
        Alignment alignment = alignment(values(records("uint8", 900_000, 1), hypothesis(THE_CAT)));
        byte sharp = (byte) 191; // 0.75 * 255 = 191.25
        byte rest = 32; // 0.125 * 255 = 31.875
        assertEquals(
                new Alignment(
                        "id-1",
                        "fr",
                        "en",
                        new Model("fr-en-tiny", "1.2.3", "cafe"),
                        List.of(
                                new Token("▁le", 1, 3, false),
                                new Token("▁chat", 4, 8, false),
                                new Token("</s>", 9, 9, true)),
                        List.of(
                                new Token("▁the", 0, 3, false),
                                new Token("▁cat", 4, 7, false),
                                new Token("</s>", 7, 7, true)),
                        WeightEncoding.UINT8,
                        0.75f - 191 / 255f,
                        ByteBuffer.wrap(new byte[] {sharp, rest, rest, rest, sharp, rest, rest, rest, sharp}),
                        List.of(new Link(0, 0), new Link(1, 1)),
                        List.of(new Link(0, 0), new Link(1, 1)),
                        3,
                        List.of(0, 2),
                        1,
                        WRITTEN_ORIGIN,
                        List.of(new TokenSegment(0, 3, 0, 3))),
                alignment);
    }

    @Test
    void shouldMarkATruncatedTranslation() throws IOException {
        OutputRecords.Values values = values(records("float32", 900_000, 1), hypothesis(303, 305));
        assertTrue(translation(values).getTruncated());
        List<Token> rows = alignment(values).getTargetTokens();
        assertEquals(List.of(new Token("▁the", 0, 3, false), new Token("▁cat", 4, 7, false)), rows);
        assertEquals(2 / 3.0, translation(values).getQualitySignals().get("length_ratio"));
    }

    @Test
    void shouldPublishNoAlignmentForAModelWithoutAttention() throws IOException {
        Hypothesis blind = new Hypothesis(THE_CAT, new float[3], Optional.empty(), false);
        OutputRecords.Values values = values(records("float32", 900_000, 1), blind);
        assertEquals(Optional.empty(), values.alignment());
        assertEquals(Map.of("length_ratio", 1.0), translation(values).getQualitySignals());
    }

    @ParameterizedTest
    @CsvSource({"1, 0", "2, 1", "3, 2", "9, 2"})
    void shouldPublishAsManyTranslationsAsAskedForTheBestOneCounted(int nBest, int further) throws IOException {
        Hypothesis second = new Hypothesis(new long[] {305, 2}, new float[] {-1, -2}, Optional.empty(), false);
        Hypothesis third = new Hypothesis(new long[] {303, 2}, new float[] {-3, -2}, Optional.empty(), false);
        Translation translation =
                translation(values(records("float32", 900_000, nBest), hypothesis(THE_CAT), second, third));
        assertEquals("the cat", translation.getTranslation());
        assertEquals(
                List.of(new io.dragoman.schema.Hypothesis("cat", -1.5), new io.dragoman.schema.Hypothesis("the", -2.5))
                        .subList(0, further),
                translation.getNBest());
    }

    @Test
    void shouldFallBackToASmallerEncodingWhenARecordIsTooLarge() throws IOException {
        int float32 = size(WeightEncoding.FLOAT32);
        int float16 = size(WeightEncoding.FLOAT16);
        int uint8 = size(WeightEncoding.UINT8);
        assertEquals(18, float32 - float16); // 9 weights
        assertEquals(9, float16 - uint8);
        assertEquals(WeightEncoding.FLOAT32, encoding("float32", float32));
        assertEquals(WeightEncoding.FLOAT16, encoding("float32", float32 - 1));
        assertEquals(WeightEncoding.FLOAT16, encoding("float32", float16));
        assertEquals(WeightEncoding.UINT8, encoding("float32", float16 - 1));
        assertEquals(WeightEncoding.UINT8, encoding("float32", uint8));
        assertEquals(WeightEncoding.NONE, encoding("float32", uint8 - 1));
        assertEquals(WeightEncoding.NONE, encoding("float32", 1));
    }

    @Test
    void shouldBeginWithTheConfiguredEncoding() throws IOException {
        assertEquals(WeightEncoding.FLOAT16, encoding("float16", 900_000));
        assertEquals(WeightEncoding.UINT8, encoding("uint8", 900_000));
        assertEquals(WeightEncoding.NONE, encoding("uint8", 1));
    }

    @Test
    void shouldKeepLinksAndTokensWithoutWeights() throws IOException {
        Alignment alignment = alignment(values(records("float32", 1, 1), hypothesis(THE_CAT)));
        assertEquals(0, alignment.getWeights().remaining());
        assertEquals(0f, alignment.getEncodingError());
        assertEquals(3, alignment.getSourceTokens().size());
        assertEquals(List.of(new Link(0, 0), new Link(1, 1)), alignment.getWordLinks());
    }

    private static int size(WeightEncoding encoding) {
        OutputRecords records = records(encoding.name().toLowerCase(java.util.Locale.ROOT), 900_000, 1);
        return values(records, hypothesis(THE_CAT)).alignment().orElseThrow().length;
    }

    private static WeightEncoding encoding(String configured, int maxBytes) throws IOException {
        return alignment(values(records(configured, maxBytes, 1), hypothesis(THE_CAT)))
                .getEncoding();
    }

    @Test
    void shouldFillEveryFieldOfARejection() throws IOException {
        Headers headers = new RecordHeaders()
                .add("traceparent", "00-ab-cd-01".getBytes(UTF_8))
                .add("empty", null)
                .add("traceparent", new byte[0]);
        byte[] value = records("float32", 900_000, 1)
                .rejection(
                        new Refusal("id-1", Refusal.Reason.TOO_LONG, Refusal.Stage.TOKENIZE, "too long by half"),
                        ORIGIN,
                        new byte[] {1, 2},
                        new byte[] {3, 4, 5},
                        headers);
        assertEquals(
                new Rejection(
                        "id-1",
                        RejectionReason.TOO_LONG,
                        "too long by half",
                        Stage.TOKENIZE,
                        ByteBuffer.wrap(new byte[] {1, 2}),
                        ByteBuffer.wrap(new byte[] {3, 4, 5}),
                        3,
                        List.of(
                                new Header("traceparent", ByteBuffer.wrap("00-ab-cd-01".getBytes(UTF_8))),
                                new Header("empty", null),
                                new Header("traceparent", ByteBuffer.wrap(new byte[0]))),
                        WRITTEN_ORIGIN),
                Rejection.getDecoder().decode(value));
    }

    @Test
    void shouldLeaveAnOversizedValueOutAndSayHowLargeItWas() throws IOException {
        assertEquals(ByteBuffer.wrap(new byte[10]), rejected(new byte[10]).getValue());
        Rejection rejection = rejected(new byte[11]);
        assertEquals(null, rejection.getValue());
        assertEquals(11, rejection.getValueBytes());
    }

    @Test
    void shouldRejectARecordWithoutKeyOrValue() throws IOException {
        Rejection rejection = rejected(null);
        assertEquals(null, rejection.getKey());
        assertEquals(null, rejection.getValue());
        assertEquals(0, rejection.getValueBytes());
        assertEquals(List.of(), rejection.getHeaders());
    }

    private static Rejection rejected(byte[] value) throws IOException {
        Refusal refusal = new Refusal("id", Refusal.Reason.EMPTY, Refusal.Stage.INGEST, "empty");
        return Rejection.getDecoder()
                .decode(records("float32", 900_000, 1).rejection(refusal, ORIGIN, null, value, new RecordHeaders()));
    }

    @ParameterizedTest
    @EnumSource(Refusal.Reason.class)
    void shouldHaveACodeForEveryReason(Refusal.Reason reason) {
        assertEquals(reason.name(), RejectionReason.valueOf(reason.name()).name());
    }

    @ParameterizedTest
    @EnumSource(Refusal.Stage.class)
    void shouldHaveACodeForEveryStage(Refusal.Stage stage) {
        assertEquals(stage.name(), Stage.valueOf(stage.name()).name());
    }

    @Test
    void shouldFindRecordsTooLargeForTheirTopics() {
        OutputRecords records = records("float32", 900_000, 1);
        byte[] small = new byte[900_000];
        byte[] large = new byte[900_001];
        assertEquals(Optional.empty(), records.tooLarge(new OutputRecords.Values(small, Optional.of(small))));
        String why = "the records of a text should have at most 900000 bytes each: one would have 900001";
        assertEquals(Optional.of(why), records.tooLarge(new OutputRecords.Values(large, Optional.empty())));
        assertEquals(Optional.of(why), records.tooLarge(new OutputRecords.Values(small, Optional.of(large))));
        assertEquals(
                Optional.empty(),
                records("float32", 2_000_000, 1).tooLarge(new OutputRecords.Values(large, Optional.empty())));
    }

    @Test
    void shouldNameTheTopicToTheEncoder() {
        Map<String, String> topics = new ConcurrentHashMap<>();
        OutputRecords records = new OutputRecords(new OutputRecords.Settings(
                (topic, record) -> {
                    topics.put(record.getSchema().getName(), topic);
                    return new byte[1];
                },
                "mt.translations",
                "mt.alignments",
                "mt.rejections",
                "float32",
                900_000,
                10,
                1));
        values(records, hypothesis(THE_CAT));
        records.rejection(
                new Refusal("id", Refusal.Reason.EMPTY, Refusal.Stage.INGEST, "empty"),
                ORIGIN,
                null,
                null,
                new RecordHeaders());
        assertEquals(
                Map.of("Translation", "mt.translations", "Alignment", "mt.alignments", "Rejection", "mt.rejections"),
                topics);
    }

    @Test
    void shouldWriteTheSingleObjectMark() {
        byte[] value =
                values(records("float32", 900_000, 1), hypothesis(THE_CAT)).translation();
        assertEquals(List.of((byte) 0xc3, (byte) 0x01), List.of(value[0], value[1]));
    }
}
