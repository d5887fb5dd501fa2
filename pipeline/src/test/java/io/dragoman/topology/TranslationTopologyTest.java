package io.dragoman.topology;

import static io.dragoman.topology.FakeInstance.poll;
import static io.dragoman.topology.FakeInstance.polled;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.infer.FakeTranslationModel;
import io.dragoman.infer.Hypothesis;
import io.dragoman.infer.ModelException;
import io.dragoman.metrics.Meters;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Cut;
import io.dragoman.schema.Extent;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.RejectionReason;
import io.dragoman.schema.Segment;
import io.dragoman.schema.SourceText;
import io.dragoman.schema.Stage;
import io.dragoman.schema.Translation;
import io.dragoman.schema.TrustedRecords;
import io.dragoman.tokenize.LengthPolicy;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TinyTokenizer;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.test.TestRecord;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@Timeout(60)
class TranslationTopologyTest {
    private static final String SENTENCES = "dragoman.sentences";
    private static final String TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    static {
        TrustedRecords.register();
    }

    @TempDir
    Path state;

    private FakeInstance instance;
    private TopologyTestDriver driver;
    private TestInputTopic<byte[], byte[]> sentences;
    private TestOutputTopic<byte[], byte[]> translations;
    private TestOutputTopic<byte[], byte[]> alignments;
    private TestOutputTopic<byte[], byte[]> rejections;

    private void start(FakeInstance.Settings settings) {
        instance = settings.start();
        Properties properties = new Properties();
        properties.put("application.id", "dragoman");
        properties.put("bootstrap.servers", "none:1");
        properties.put("state.dir", state.toString());
        properties.put("processing.guarantee", "exactly_once_v2");
        driver = new TopologyTestDriver(instance.topology(), properties);
        ByteArraySerializer in = new ByteArraySerializer();
        ByteArrayDeserializer out = new ByteArrayDeserializer();
        sentences = driver.createInputTopic(SENTENCES, in, in);
        translations = driver.createOutputTopic("dragoman.translations", out, out);
        alignments = driver.createOutputTopic("dragoman.alignments", out, out);
        rejections = driver.createOutputTopic("dragoman.rejections", out, out);
    }

    @AfterEach
    void stop() {
        if (driver != null) {
            driver.close();
        }
        instance.close();
    }

    private void send(String text) {
        sentences.pipeInput(text.getBytes(UTF_8));
    }

    private List<String> translated() throws IOException {
        List<String> texts = new ArrayList<>();
        for (TestRecord<byte[], byte[]> record : translations.readRecordsToList()) {
            texts.add(Translation.getDecoder().decode(record.value()).getTranslation());
        }
        return texts;
    }

    private Rejection rejection() throws IOException {
        return Rejection.getDecoder().decode(rejections.readValue());
    }

    private void assertNothingForwarded() {
        assertTrue(translations.isEmpty());
        assertTrue(alignments.isEmpty());
        assertTrue(rejections.isEmpty());
    }

    @Test
    void shouldTranslateAndAlign() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()));
        send("le chat noir");
        Translation translation = Translation.getDecoder().decode(translations.readValue());
        Alignment alignment = Alignment.getDecoder().decode(alignments.readValue());
        assertEquals("the cat black", translation.getTranslation());
        assertEquals("le chat noir", translation.getSourceText());
        assertEquals("dragoman.sentences-0-0", translation.getId());
        assertEquals("dragoman.sentences-0-0", alignment.getId());
        assertEquals(translation.getOrigin(), alignment.getOrigin());
        assertEquals(translation.getModel(), alignment.getModel());
        assertEquals(1, translation.getTimings().getBatchSize());
        assertEquals("[0-0, 1-1, 2-2]", links(alignment));
        assertNothingForwarded();
    }

    private static String links(Alignment alignment) {
        return alignment.getWordLinks().stream()
                .map(link -> link.getSource() + "-" + link.getTarget())
                .toList()
                .toString();
    }

    @Test
    void shouldCarryKeyTimestampAndHeadersToEveryRecord() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()));
        Headers headers = new RecordHeaders()
                .add("traceparent", TRACE.getBytes(UTF_8))
                .add("page", null)
                .add("page", new byte[] {7});
        byte[] key = {1, 2, 3};
        sentences.pipeInput(new TestRecord<>(key, "le chat".getBytes(UTF_8), headers, 1234L));
        sentences.pipeInput(new TestRecord<>(key, new byte[0], headers, 1234L));
        TestRecord<byte[], byte[]> rejected = rejections.readRecord();
        for (TestRecord<byte[], byte[]> record :
                List.of(translations.readRecord(), alignments.readRecord(), rejected)) {
            assertArrayEquals(key, record.key());
            assertEquals(1234L, record.timestamp());
            assertEquals(headers, record.headers());
            assertEquals(
                    TRACE, new String(record.headers().lastHeader("traceparent").value(), UTF_8));
        }
        Rejection rejection = Rejection.getDecoder().decode(rejected.value());
        assertEquals(ByteBuffer.wrap(key), rejection.getKey());
        assertEquals(3, rejection.getHeaders().size());
        assertEquals(new io.dragoman.schema.Origin(SENTENCES, 0, 1L, 1234L), rejection.getOrigin());
    }

    @Test
    void shouldTakeARecordWithoutAKey() {
        start(FakeInstance.of(FakeInstance.dictionary()));
        send("le chat");
        assertNull(translations.readRecord().key());
        assertNull(alignments.readRecord().key());
    }

    @Test
    void shouldPassATombstoneOnAsATombstone() {
        start(FakeInstance.of(FakeInstance.dictionary()));
        byte[] key = {9};
        Headers headers = new RecordHeaders().add("traceparent", TRACE.getBytes(UTF_8));
        sentences.pipeInput(new TestRecord<>(key, null, headers, 99L));
        for (TestRecord<byte[], byte[]> record : List.of(translations.readRecord(), alignments.readRecord())) {
            assertArrayEquals(key, record.key());
            assertNull(record.value());
            assertEquals(99L, record.timestamp());
            assertEquals(headers, record.headers());
        }
        assertNothingForwarded();
    }

    static Stream<Object[]> refused() {
        return Stream.of(
                new Object[] {"", RejectionReason.EMPTY, Stage.INGEST},
                new Object[] {"\u200b\ufeff", RejectionReason.CONTROL_CHARACTERS_ONLY, Stage.INGEST},
                new Object[] {"a".repeat(101), RejectionReason.TOO_LONG, Stage.INGEST},
                new Object[] {"chat ".repeat(20).strip(), RejectionReason.TOO_LONG, Stage.TOKENIZE},
                new Object[] {"poison", RejectionReason.MODEL_FAILURE, Stage.INFER});
    }

    @ParameterizedTest
    @MethodSource("refused")
    void shouldRejectWithItsReasonAndGoOn(String text, RejectionReason reason, Stage stage) throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary().failingOn(sentence -> sentence.equals("poison"))));
        send(text);
        send("chat");
        Rejection rejection = rejection();
        assertEquals(reason, rejection.getReason());
        assertEquals(stage, rejection.getStage());
        assertEquals("dragoman.sentences-0-0", rejection.getId());
        assertEquals(ByteBuffer.wrap(text.getBytes(UTF_8)), rejection.getValue());
        assertEquals(List.of("cat"), translated());
        alignments.readValue();
        assertNothingForwarded();
    }

    @Test
    void shouldRejectWhatIsNoUtf8() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()));
        sentences.pipeInput(new byte[] {'a', (byte) 0xff});
        Rejection rejection = rejection();
        assertEquals(RejectionReason.UNDECODABLE, rejection.getReason());
        assertEquals(Stage.INGEST, rejection.getStage());
        assertEquals(ByteBuffer.wrap(new byte[] {'a', (byte) 0xff}), rejection.getValue());
        assertNothingForwarded();
    }

    @Test
    void shouldRejectAPairWithoutAModel() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()));
        sentences.pipeInput(new TestRecord<>(
                null, "ciao".getBytes(UTF_8), new RecordHeaders().add("source-language", "it".getBytes(UTF_8)), 0L));
        assertEquals(RejectionReason.UNKNOWN_LANGUAGE_PAIR, rejection().getReason());
        assertNothingForwarded();
    }

    @Test
    void shouldSayHowLongATextMayBeInTokens() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()));
        send("chat ".repeat(19).strip()); // 19 and the end
        send("chat ".repeat(20).strip());
        assertEquals(1, translated().size());
        assertEquals(
                "a text should have at most 20 subword tokens for the model fr-en-tiny: has 21; split it into"
                        + " sentences, or set text.length.policy to split",
                rejection().getExplanation());
    }

    @Test
    void shouldRejectATextOfWhichTheTokenizerLeavesNothing() throws IOException {
        Path file = state.resolve("tokenizer.json");
        Files.writeString(file, Files.readString(TinyTokenizer.file()).replace("[\\\\u00AD", "[\\\\u2800\\\\u00AD"));
        start(FakeInstance.of(FakeInstance.dictionary()).tokenizer(SubwordTokenizer.load(file, TinyTokenizer.SPECIAL)));
        send("\u2800"); // a Braille pattern without dots
        Rejection rejection = rejection();
        assertEquals(RejectionReason.CONTROL_CHARACTERS_ONLY, rejection.getReason());
        assertEquals(Stage.TOKENIZE, rejection.getStage());
    }

    @Test
    void shouldRejectASentenceOnWhichTheModelGivesNoNumbers() throws IOException {
        FakeTranslationModel model = FakeTranslationModel.answering(source -> {
            if (source.text().equals("nan")) {
                throw new ModelException("the model's score is not a number");
            }
            return List.of(FakeTranslationModel.hypothesis(source, 305, 2));
        });
        start(FakeInstance.of(model));
        send("nan");
        send("chat");
        assertEquals("the model's score is not a number", rejection().getExplanation());
        assertEquals(List.of("cat"), translated());
    }

    @Test
    void shouldPublishNoAlignmentForAModelWithoutAttention() throws IOException {
        start(FakeInstance.of(FakeTranslationModel.answering(
                source -> List.of(new Hypothesis(new long[] {305, 2}, new float[2], Optional.empty(), false)))));
        send("chat");
        assertEquals(List.of("cat"), translated());
        assertNothingForwarded();
    }

    @Test
    void shouldGiveEachPairToItsOwnModel() throws IOException {
        FakeTranslationModel french = FakeInstance.dictionary();
        FakeTranslationModel german = FakeTranslationModel.echo().with(FakeTranslationModel.manifest("de", "en", 20));
        start(FakeInstance.of(french, german));
        sentences.pipeInput(new TestRecord<>(
                null, "chat".getBytes(UTF_8), new RecordHeaders().add("source-language", "DE".getBytes(UTF_8)), 0L));
        send("chat");
        Translation first = Translation.getDecoder().decode(translations.readValue());
        Translation second = Translation.getDecoder().decode(translations.readValue());
        assertEquals("chat", first.getTranslation());
        assertEquals("de-en-tiny", first.getModel().getName());
        assertEquals("de", first.getSourceLanguage());
        assertEquals("cat", second.getTranslation());
        assertEquals("fr-en-tiny", second.getModel().getName());
    }

    @Test
    void shouldReadAvro() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()).avro());
        ByteBuffer value = SourceText.getEncoder()
                .encode(SourceText.newBuilder()
                        .setId("page-7")
                        .setText("le chat")
                        .setAttributes(Map.of("book", "1"))
                        .build());
        byte[] bytes = new byte[value.remaining()];
        value.get(bytes);
        sentences.pipeInput(bytes);
        send("le chat");
        Translation translation = Translation.getDecoder().decode(translations.readValue());
        assertEquals("page-7", translation.getId());
        assertEquals("the cat", translation.getTranslation());
        assertEquals(Map.of("book", "1"), translation.getAttributes());
        assertEquals(RejectionReason.UNDECODABLE, rejection().getReason());
    }

    @Test
    void shouldPublishInTheOrderOfTheInput() throws IOException {
        FakeTranslationModel model = FakeTranslationModel.echo();
        start(FakeInstance.of(model));
        List<String> texts = new ArrayList<>();
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 60; i++) {
            String text = "chat ".repeat(1 + i * 7 % 10).strip() + " n".repeat(i % 7);
            texts.add(text);
            records.add(polled(SENTENCES, 0, i, text.getBytes(UTF_8)));
        }
        lookAhead(records);
        texts.forEach(this::send);
        assertEquals(texts, translated());
        assertEquals(60, alignments.readValuesToList().size());
        assertEquals(0, instance.lookAhead().size());
    }

    private void lookAhead(List<ConsumerRecord<byte[], byte[]>> records) {
        instance.lookAhead().submit(poll(records));
    }

    @Test
    void shouldPutWhatIsReadAheadInOneBatch() throws IOException {
        FakeTranslationModel model = FakeInstance.dictionary();
        start(FakeInstance.of(model).fullBatchesOf(3));
        lookAhead(List.of(
                polled(SENTENCES, 0, 0, "le".getBytes(UTF_8)),
                polled(SENTENCES, 0, 1, "chat".getBytes(UTF_8)),
                polled(SENTENCES, 5, 0, "noir".getBytes(UTF_8)))); // another partition's
        send("le");
        send("chat");
        assertEquals(List.of("the", "cat"), translated());
        assertEquals(List.of(List.of("le", "chat", "noir")), model.runs());
        assertEquals(1, instance.lookAhead().size());
    }

    @Test
    void shouldTranslateTheNeighboursOfASentenceThatFails() throws IOException {
        FakeTranslationModel model = FakeInstance.dictionary().failingOn(text -> text.equals("poison"));
        start(FakeInstance.of(model).fullBatchesOf(4));
        List<String> texts = List.of("le", "chat", "poison", "noir");
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (String text : texts) {
            records.add(polled(SENTENCES, 0, records.size(), text.getBytes(UTF_8)));
        }
        lookAhead(records);
        texts.forEach(this::send);
        assertEquals(List.of("the", "cat", "black"), translated());
        assertEquals(3, alignments.readValuesToList().size());
        Rejection rejection = rejection();
        assertEquals(RejectionReason.MODEL_FAILURE, rejection.getReason());
        assertEquals("dragoman.sentences-0-2", rejection.getId());
        assertEquals("no answer for poison", rejection.getExplanation());
        assertNothingForwarded();
    }

    @Test
    void shouldCountWhatBecameOfEachRecord() {
        FakeTranslationModel model = FakeInstance.dictionary().failingOn(text -> text.equals("poison"));
        SimpleMeterRegistry registry = new SimpleMeterRegistry();
        start(FakeInstance.of(model).fullBatchesOf(4).measuredBy(new Meters(registry)));
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (String text : List.of("le", "chat noir", "poison", "noir", "trop tard")) {
            records.add(polled(SENTENCES, 0, records.size(), text.getBytes(UTF_8)));
        }
        lookAhead(records);
        assertEquals(5, registry.get("dragoman.read.ahead.records").gauge().value());
        List.of("le", "chat noir", "poison", "noir").forEach(this::send);
        assertEquals(3, registry.get("dragoman.translations").counter().count());
        assertEquals(
                1,
                registry.get("dragoman.rejections")
                        .tags("reason", "MODEL_FAILURE", "stage", "INFER")
                        .counter()
                        .count());
        // all four, then two and two, then one and one
        assertEquals(3, registry.get("dragoman.failed.runs").counter().count());
        assertEquals(2, registry.get("dragoman.batches").counter().count());
        assertEquals(3, registry.get("dragoman.batch.rows").summary().totalAmount());
        assertEquals(
                3, registry.get("dragoman.stage").tags("stage", "turn").timer().count());
        assertEquals(3, registry.get("dragoman.end.to.end").timer().count());
        assertEquals(1, registry.get("dragoman.queue.sentences").gauge().value(), "one waits for company");
        double source = registry.get("dragoman.source.tokens").counter().count();
        double padding = registry.get("dragoman.padding.tokens").counter().count();
        assertTrue(source > 3 && padding > 0 && padding < source, source + " tokens, " + padding + " of padding");
        driver.close();
        driver = null;
        assertEquals(1, registry.get("dragoman.forgotten.records").counter().count());
    }

    private static final String LONG_TEXT = "Le chat noir le chat. Le noir chat le chat!\nchat le noir le chat noir.";

    @Test
    void shouldTranslateATextThatIsTooLongSentenceBySentenceAndPublishItAsOne() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()).longTexts(LengthPolicy.SPLIT, 1000));
        send(LONG_TEXT);
        Translation translation = Translation.getDecoder().decode(translations.readValue());
        Alignment alignment = Alignment.getDecoder().decode(alignments.readValue());
        assertNothingForwarded();
        assertEquals(Extent.SPLIT, translation.getExtent());
        assertEquals(LONG_TEXT, translation.getSourceText());
        assertEquals(
                "Le cat black the chat. Le black cat the chat!\ncat the black the cat noir.",
                translation.getTranslation());
        assertEquals(3, translation.getSegments().size());
        assertEquals(-0.5, translation.getScore());
        assertEquals(
                "0-0 1-1 2-2 3-3 4-4 5-5 6-6 7-7 8-8 9-9 10-10 11-11 12-12 13-13 14-14 15-15",
                links(alignment).replaceAll("[\\[\\],]", ""));
    }

    @Test
    void shouldTranslateTheBeginningWhenToldTo() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()).longTexts(LengthPolicy.TRUNCATE, 1000));
        send(LONG_TEXT);
        Translation translation = Translation.getDecoder().decode(translations.readValue());
        assertEquals(Extent.TRUNCATED, translation.getExtent());
        assertEquals("Le cat black the chat. Le black cat the chat!", translation.getTranslation());
        assertEquals(List.of(new Segment(0, 43, 0, 45, Cut.SENTENCE)), translation.getSegments());
        alignments.readValue();
        assertNothingForwarded();
    }

    @Test
    void shouldRejectATextWithAPieceThatFailsAndNameThePiece() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary().failingOn(text -> text.equals("Le noir chat le chat!")))
                .longTexts(LengthPolicy.SPLIT, 1000));
        send(LONG_TEXT);
        send("chat");
        Rejection rejection = rejection();
        assertEquals(RejectionReason.MODEL_FAILURE, rejection.getReason());
        assertEquals("piece 2 of 3, characters 22 to 43: no answer for poison", rejection.getExplanation());
        assertEquals(List.of("cat"), translated());
        alignments.readValue();
        assertNothingForwarded();
    }

    @Test
    void shouldRejectATextOfMoreTokensThanOneMayHave() throws IOException {
        start(FakeInstance.of(FakeInstance.dictionary()).longTexts(LengthPolicy.SPLIT, 1000));
        send("le chat. ".repeat(60));
        Rejection rejection = rejection();
        assertEquals(RejectionReason.TOO_LONG, rejection.getReason());
        assertEquals(Stage.TOKENIZE, rejection.getStage());
        assertNothingForwarded();
    }

    @Test
    void shouldRejectATextThatTheModelDoesNotGetThroughInTimeAndGoOn() throws IOException {
        CountDownLatch never = new CountDownLatch(1);
        FakeTranslationModel slow = FakeTranslationModel.answering(source -> {
            if (source.text().startsWith("chat le")) {
                try {
                    never.await();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            }
            return List.of(FakeTranslationModel.hypothesis(source, source.ids()));
        });
        start(FakeInstance.of(slow).singly().longTexts(LengthPolicy.SPLIT, 1000).timeout(Duration.ofMillis(500)));
        send(LONG_TEXT);
        never.countDown();
        Rejection rejection = rejection();
        assertEquals(RejectionReason.TOO_LONG, rejection.getReason());
        assertEquals(Stage.INFER, rejection.getStage());
        assertEquals(
                "the 3 pieces of a text should be translated within 500 ms (model.timeout.ms): 2 were; lower"
                        + " text.max.tokens or shorten the text",
                rejection.getExplanation());
        send("le");
        assertEquals(List.of("le"), translated());
    }

    @Test
    void shouldStopWithNothingPublishedWhenTheModelIsBroken() {
        start(FakeInstance.of(FakeInstance.dictionary().failingOn(text -> true)).failureLimit(1));
        Exception e = assertThrows(Exception.class, () -> send("chat"));
        assertEquals(
                "the model fr-en-tiny failed on 1 sentences in a row, the last time with: no answer for poison",
                modelException(e).getMessage());
        assertNothingForwarded();
    }

    @Test
    void shouldStopWithNothingPublishedWhenNoResultComes() {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch never = new CountDownLatch(1);
        start(FakeInstance.of(FakeInstance.dictionary().waiting(begun, never)).timeout(Duration.ofMillis(50)));
        Exception e = assertThrows(Exception.class, () -> send("chat"));
        never.countDown();
        assertEquals(
                "the model gave no result within 50 ms (model.timeout.ms)",
                modelException(e).getMessage());
        assertNothingForwarded();
    }

    /** What the instance's exception handler looks for. */
    private static ModelException modelException(Throwable thrown) {
        for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
            if (cause instanceof ModelException found) {
                return found;
            }
        }
        throw new AssertionError("no ModelException", thrown);
    }

    @Test
    void shouldForgetWhatItReadAheadWhenThePartitionLeaves() {
        start(FakeInstance.of(FakeInstance.dictionary()));
        lookAhead(List.of(
                polled(SENTENCES, 0, 0, "le".getBytes(UTF_8)), polled(SENTENCES, 0, 1, "chat".getBytes(UTF_8))));
        assertEquals(2, instance.lookAhead().size());
        driver.close();
        driver = null;
        assertEquals(0, instance.lookAhead().size());
    }

    @Test
    void shouldMeasureTheAttentionOfEachSentence() throws IOException {
        start(FakeInstance.of(FakeTranslationModel.answering(source -> List.of(new Hypothesis(
                new long[] {305, 2},
                new float[] {-1, -3},
                Optional.of(new AlignmentMatrix(2, 2, new float[] {.5f, .5f, 1, 0})),
                false)))));
        send("chat");
        Translation translation = Translation.getDecoder().decode(translations.readValue());
        assertEquals(0.5, translation.getQualitySignals().get("attention_entropy"), 1e-6);
        assertEquals(1.0, translation.getQualitySignals().get("length_ratio"));
        assertEquals(-2.0, translation.getScore());
    }

    @Test
    void shouldShowTheWholeFlowOnOnePage() {
        start(FakeInstance.of(FakeInstance.dictionary()));
        String page = instance.topology().describe().toString();
        assertTrue(page.contains("Source: sentences (topics: [dragoman.sentences])"), page);
        assertTrue(page.contains("--> alignments, rejections, translations"), page);
        assertTrue(page.contains("Sink: translations (topic: dragoman.translations)"), page);
        assertTrue(page.contains("Sink: alignments (topic: dragoman.alignments)"), page);
        assertTrue(page.contains("Sink: rejections (topic: dragoman.rejections)"), page);
    }
}
