package io.dragoman.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.config.DragomanConfig;
import io.dragoman.config.TopicNames;
import io.dragoman.infer.GoldenFile;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Cut;
import io.dragoman.schema.Extent;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.RejectionReason;
import io.dragoman.schema.Segment;
import io.dragoman.schema.SourceText;
import io.dragoman.schema.Token;
import io.dragoman.schema.TokenSegment;
import io.dragoman.schema.Translation;
import io.dragoman.schema.WeightEncoding;
import io.dragoman.topology.Pipeline;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.CleanupMode;
import org.junit.jupiter.api.io.TempDir;

/** The whole pipeline on a real broker with the bundle that is committed. */
class PipelineIT {
    /** Of float32 products: the golden file is PyTorch's, to which 8-bit ones are only near. */
    private static final Path BUNDLE = TestCluster.HOME.resolve("model-export/bundles/fr-en-rnnsearch");

    @TempDir(cleanup = CleanupMode.NEVER)
    static Path folder;

    private static TestCluster cluster;

    @BeforeAll
    static void startBroker() throws Exception {
        cluster = new TestCluster(folder);
    }

    @AfterAll
    static void stopBroker() {
        cluster.close();
    }

    @Test
    void shouldGiveGoldenTranslationsLinksAndWeightsThroughKafka() throws Exception {
        List<GoldenFile.Example> golden = GoldenFile.read(BUNDLE.resolve("golden.tsv"));
        Map<String, String> settings = cluster.settings("golden", Map.of("bundles", BUNDLE.toString()));
        TopicNames topics = TestCluster.topics(settings);
        for (int i = 0; i < golden.size(); i++) {
            cluster.send(
                    topics.sentences(), i % 3, String.valueOf(i), golden.get(i).source());
        }
        try (Pipeline pipeline = cluster.start(settings)) {
            Map<String, Translation> translations = translations(topics, golden.size());
            Map<String, Alignment> alignments = alignments(topics, golden.size());
            for (int i = 0; i < golden.size(); i++) {
                GoldenFile.Example expected = golden.get(i);
                Translation translation = translations.get(String.valueOf(i));
                Alignment alignment = alignments.get(String.valueOf(i));
                assertEquals(expected.translation(), translation.getTranslation());
                assertEquals(expected.score(), translation.getScore(), 1e-4);
                assertEquals(translation.getId(), alignment.getId());
                assertEquals(
                        translation.getModel().getSha256(), alignment.getModel().getSha256());
                assertEquals(
                        expected.links(),
                        alignment.getWordLinks().stream()
                                .map(link -> link.getSource() + "-" + link.getTarget())
                                .collect(Collectors.joining(" ")));
                assertWeights(expected.weights(), alignment);
                assertSpans(translation, alignment);
            }
        }
    }

    private static void assertWeights(List<float[]> expected, Alignment alignment) {
        assertEquals(WeightEncoding.FLOAT32, alignment.getEncoding());
        assertEquals(expected.size(), alignment.getTargetTokens().size());
        ByteBuffer bytes = alignment.getWeights().order(ByteOrder.LITTLE_ENDIAN);
        for (float[] row : expected) {
            assertEquals(row.length, alignment.getSourceTokens().size());
            double sum = 0;
            for (float weight : row) {
                float found = bytes.getFloat();
                assertEquals(weight, found, 1e-4);
                sum += found;
            }
            assertEquals(1, sum, 1e-5);
        }
        assertEquals(0, bytes.remaining());
    }

    private static void assertSpans(Translation translation, Alignment alignment) {
        for (Token token : alignment.getSourceTokens()) {
            assertTrue(token.getEnd() <= translation.getSourceText().length());
        }
        for (Token token : alignment.getTargetTokens()) {
            String covered = translation.getTranslation().substring(token.getStart(), token.getEnd());
            String piece = token.getText().replace("\u2581", "");
            assertTrue(
                    covered.equals(piece) || token.getEndOfSentence() || piece.startsWith("<0x"),
                    () -> piece + " covers " + covered);
        }
        assertTrue(alignment
                .getSourceTokens()
                .get(alignment.getSourceTokens().size() - 1)
                .getEndOfSentence());
    }

    @Test
    void shouldRejectBadInputWithItsReasonAndGoOn() throws Exception {
        Map<String, String> settings = cluster.settings(
                "poison",
                Map.of(DragomanConfig.TEXT_MAX_CHARACTERS, "5000", DragomanConfig.TEXT_LENGTH_POLICY, "reject"));
        TopicNames topics = TestCluster.topics(settings);
        String in = topics.sentences();
        cluster.send(in, 0, "good-1", "Bonjour tout le monde.");
        cluster.send(in, 0, "empty", "");
        cluster.send(in, 0, "blank", " \t\u00a0 ");
        cluster.send(in, 0, "not-utf8", new byte[] {'a', (byte) 0xff, (byte) 0xfe, 'b'});
        cluster.send(in, 0, "control", "\u0000\u0007\u001b\u200b");
        cluster.send(in, 0, "characters", "a".repeat(1_000_000));
        cluster.send(in, 0, "tokens", "mot ".repeat(1_000));
        cluster.send(
                in,
                0,
                "languages",
                "Hallo".getBytes(StandardCharsets.UTF_8),
                TestCluster.header("source-language", "de"));
        cluster.send(in, 0, "k".repeat(600_000), "Une clé trop longue.".repeat(10_000));
        cluster.send(in, 0, "k".repeat(900_000), "Une clé bien trop longue.");
        cluster.send(in, 0, "tombstone", (byte[]) null);
        cluster.send(
                in,
                0,
                "good-2",
                "Je ne sais pas.".getBytes(StandardCharsets.UTF_8),
                TestCluster.header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        try (Pipeline pipeline = cluster.start(settings)) {
            List<ConsumerRecord<byte[], byte[]>> translations = cluster.read(topics.translations(), 3);
            assertEquals(
                    List.of("good-1", "tombstone", "good-2"),
                    translations.stream().map(r -> TestCluster.text(r.key())).toList());
            assertEquals(null, translations.get(1).value());
            assertEquals(
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                    TestCluster.text(translations
                            .get(2)
                            .headers()
                            .lastHeader("traceparent")
                            .value()));
            assertEquals(3, cluster.read(topics.alignments(), 3).size());

            Map<String, Rejection> rejections = new TreeMap<>();
            List<Rejection> withoutKey = new ArrayList<>();
            for (ConsumerRecord<byte[], byte[]> record : cluster.read(topics.rejections(), 9)) {
                Rejection rejection = Rejection.getDecoder().decode(ByteBuffer.wrap(record.value()));
                if (record.key() == null) {
                    withoutKey.add(rejection);
                } else {
                    rejections.put(TestCluster.text(record.key()), rejection);
                }
            }
            assertEquals(2, withoutKey.size());
            for (Rejection rejection : withoutKey) {
                assertEquals(RejectionReason.TOO_LONG, rejection.getReason());
                assertTrue(rejection.getExplanation().startsWith("key and headers should have at most"));
            }
            assertEquals(600_000, withoutKey.get(0).getKey().remaining());
            assertEquals(null, withoutKey.get(1).getKey());
            Map<String, RejectionReason> reasons = new TreeMap<>();
            rejections.forEach((key, rejection) -> reasons.put(key, rejection.getReason()));
            assertEquals(
                    new TreeMap<>(Map.of(
                            "empty", RejectionReason.EMPTY,
                            "blank", RejectionReason.EMPTY,
                            "not-utf8", RejectionReason.UNDECODABLE,
                            "control", RejectionReason.CONTROL_CHARACTERS_ONLY,
                            "characters", RejectionReason.TOO_LONG,
                            "tokens", RejectionReason.TOO_LONG,
                            "languages", RejectionReason.UNKNOWN_LANGUAGE_PAIR)),
                    reasons);
            assertEquals(
                    ByteBuffer.wrap(new byte[] {'a', (byte) 0xff, (byte) 0xfe, 'b'}),
                    rejections.get("not-utf8").getValue());
            assertEquals(1_000_000, rejections.get("characters").getValueBytes());
            assertEquals(3, rejections.get("not-utf8").getOrigin().getOffset());
        }
    }

    @Test
    void shouldNotLeaveAQuietStreamWaitingForTheCommitInterval() throws Exception {
        Map<String, String> settings = cluster.settings("quiet", Map.of(DragomanConfig.COMMIT_INTERVAL_MS, "59000"));
        TopicNames topics = TestCluster.topics(settings);
        try (Pipeline pipeline = cluster.start(settings)) {
            long start = System.nanoTime();
            for (int i = 1; i <= 3; i++) {
                cluster.send(topics.sentences(), i % 3, String.valueOf(i), "Bonjour.");
                translations(topics, i);
            }
            Duration waited = Duration.ofNanos(System.nanoTime() - start);
            assertTrue(waited.toSeconds() < 50, () -> "three sentences took " + waited);
        }
    }

    @Test
    void shouldGiveTheSameAnswerAloneTwiceAndAmongOthers() throws Exception {
        Map<String, String> settings = cluster.settings("company", Map.of(DragomanConfig.BATCH_LINGER_MS, "200"));
        TopicNames topics = TestCluster.topics(settings);
        String sentence = "Nous devons trouver une solution avant la fin de l'année.";
        try (Pipeline pipeline = cluster.start(settings)) {
            cluster.send(topics.sentences(), 0, "alone", sentence);
            translations(topics, 1);
            for (int i = 0; i < 63; i++) {
                cluster.sendSoon(
                        topics.sentences(),
                        i % 3,
                        "other-" + i,
                        "Voici la phrase numéro " + i + ", " + "très ".repeat(i % 20) + "longue.");
            }
            cluster.sendSoon(topics.sentences(), 0, "company-1", sentence);
            cluster.sendSoon(topics.sentences(), 1, "company-2", sentence);
            cluster.flush();
            Map<String, Translation> translations = translations(topics, 66);
            Map<String, Alignment> alignments = alignments(topics, 66);
            assertTrue(translations.get("company-1").getTimings().getBatchSize() > 1, "it was alone again");
            for (String other : List.of("company-1", "company-2")) {
                assertEquals(
                        translations.get("alone").getTranslation(),
                        translations.get(other).getTranslation());
                ByteBuffer one = alignments.get("alone").getWeights().order(ByteOrder.LITTLE_ENDIAN);
                ByteBuffer two = alignments.get(other).getWeights().order(ByteOrder.LITTLE_ENDIAN);
                assertEquals(one.remaining(), two.remaining());
                while (one.hasRemaining()) {
                    assertEquals(one.getFloat(), two.getFloat(), 1e-4);
                }
                one.rewind();
            }
        }
    }

    /** Three sentences that the model takes one by one and not together; hostile texts before and after them. */
    @Test
    void shouldTranslateATextThatIsTooLongAsOneRecord() throws Exception {
        Map<String, String> settings = cluster.settings(
                "long", Map.of(DragomanConfig.TEXT_MAX_CHARACTERS, "1000000", DragomanConfig.MODEL_BEAM_SIZE, "1"));
        TopicNames topics = TestCluster.topics(settings);
        List<String> sentences = List.of(
                "Nous devons trouver une solution" + ", et nous devons la trouver".repeat(40) + ".",
                "M. Dupont ne sait pas" + ", il ne sait vraiment pas".repeat(40) + "!",
                "Merci" + " beaucoup, mon ami".repeat(60) + ".");
        String text = "  " + sentences.get(0) + " " + sentences.get(1) + "\n\n" + sentences.get(2) + " ";
        cluster.send(topics.sentences(), 0, "letters", "a".repeat(900_000));
        cluster.send(topics.sentences(), 0, "long", text);
        cluster.send(topics.sentences(), 0, "marks", "e\u0301\u0301" + "\u0301".repeat(300_000));
        cluster.send(topics.sentences(), 0, "short", "Merci beaucoup.");
        try (Pipeline pipeline = cluster.start(settings)) {
            Map<String, Translation> translations = translations(topics, 2);
            Alignment alignment = alignments(topics, 2).get("long");
            Map<String, RejectionReason> rejected = new TreeMap<>();
            for (ConsumerRecord<byte[], byte[]> record : cluster.read(topics.rejections(), 2)) {
                rejected.put(
                        TestCluster.text(record.key()),
                        Rejection.getDecoder()
                                .decode(ByteBuffer.wrap(record.value()))
                                .getReason());
            }
            assertEquals(Map.of("letters", RejectionReason.TOO_LONG, "marks", RejectionReason.TOO_LONG), rejected);
            assertEquals(Extent.WHOLE, translations.get("short").getExtent());
            Translation translation = translations.get("long");
            assertEquals(Extent.SPLIT, translation.getExtent());
            assertEquals(text, translation.getSourceText());
            List<Segment> segments = translation.getSegments();
            assertEquals(
                    sentences,
                    segments.stream()
                            .map(segment -> text.substring(segment.getSourceStart(), segment.getSourceEnd()))
                            .toList());
            assertEquals(
                    List.of(Cut.SENTENCE, Cut.SENTENCE, Cut.TEXT),
                    segments.stream().map(Segment::getCut).toList());
            assertEquals(
                    "\n\n",
                    translation
                            .getTranslation()
                            .substring(
                                    segments.get(1).getTargetEnd(),
                                    segments.get(2).getTargetStart()));
            assertSpans(translation, alignment);
            assertSourceSpans(text, alignment);
            assertEquals(
                    translation.getTokenLogProbs().size(),
                    alignment.getTargetTokens().size());
            assertBlocks(alignment);
        }
    }

    /** Each token covers the characters it spells, in the text as it was sent. */
    private static void assertSourceSpans(String text, Alignment alignment) {
        int ends = 0;
        for (Token token : alignment.getSourceTokens()) {
            String piece = token.getText().replace("\u2581", "");
            ends += token.getEndOfSentence() ? 1 : 0;
            assertTrue(
                    token.getEndOfSentence()
                            || piece.isEmpty()
                            || text.substring(token.getStart(), token.getEnd()).equals(piece),
                    () -> piece + " covers " + token.getStart() + " to " + token.getEnd());
        }
        assertEquals(3, ends);
    }

    /** Every row sums to 1 over its own piece, and links stay inside it. */
    private static void assertBlocks(Alignment alignment) {
        boolean half = alignment.getEncoding() == WeightEncoding.FLOAT16_BLOCKS;
        assertTrue(half || alignment.getEncoding() == WeightEncoding.FLOAT32_BLOCKS, "all of it does not fit");
        ByteBuffer bytes = alignment.getWeights().order(ByteOrder.LITTLE_ENDIAN);
        for (TokenSegment segment : alignment.getSegments()) {
            for (int row = segment.getTargetStart(); row < segment.getTargetEnd(); row++) {
                double sum = 0;
                for (int column = segment.getSourceStart(); column < segment.getSourceEnd(); column++) {
                    sum += half ? half(bytes.getShort()) : bytes.getFloat();
                }
                int columns = segment.getSourceEnd() - segment.getSourceStart();
                assertEquals(1, sum, alignment.getEncodingError() * columns + 1e-4);
            }
            assertTrue(alignment.getTokenLinks().stream()
                    .filter(link -> link.getTarget() >= segment.getTargetStart())
                    .filter(link -> link.getTarget() < segment.getTargetEnd())
                    .allMatch(link ->
                            link.getSource() >= segment.getSourceStart() && link.getSource() < segment.getSourceEnd()));
        }
        assertEquals(0, bytes.remaining());
    }

    private static double half(short bits) {
        double fraction = (bits & 0x3ff) / 1024.0;
        int exponent = bits >> 10;
        return exponent == 0 ? fraction * 0x1p-14 : (1 + fraction) * Math.pow(2, exponent - 15);
    }

    @Test
    void shouldReadAvroAndKeepWhatTheProducerSaid() throws Exception {
        Map<String, String> settings = cluster.settings("avro", Map.of(DragomanConfig.INPUT_FORMAT, "avro"));
        TopicNames topics = TestCluster.topics(settings);
        ByteBuffer record = SourceText.getEncoder()
                .encode(SourceText.newBuilder()
                        .setId("mine")
                        .setText("Merci beaucoup.")
                        .setSourceLanguage("FR")
                        .setTargetLanguage("en")
                        .setAttributes(Map.of("room", "12"))
                        .build());
        byte[] value = new byte[record.remaining()];
        record.get(value);
        cluster.send(topics.sentences(), 0, "k", value);
        cluster.send(topics.sentences(), 0, "garbage", "this is no Avro");
        try (Pipeline pipeline = cluster.start(settings)) {
            Translation translation = translations(topics, 1).get("k");
            assertEquals("mine", translation.getId());
            assertEquals("12", translation.getAttributes().get("room"));
            Rejection rejection = Rejection.getDecoder()
                    .decode(ByteBuffer.wrap(
                            cluster.read(topics.rejections(), 1).get(0).value()));
            assertEquals(RejectionReason.UNDECODABLE, rejection.getReason());
            assertNotNull(rejection.getExplanation());
        }
    }

    private static Map<String, Translation> translations(TopicNames topics, int count) throws Exception {
        Map<String, Translation> found = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : cluster.read(topics.translations(), count)) {
            found.put(TestCluster.text(record.key()), Translation.getDecoder().decode(ByteBuffer.wrap(record.value())));
        }
        assertEquals(count, found.size());
        return found;
    }

    private static Map<String, Alignment> alignments(TopicNames topics, int count) throws Exception {
        Map<String, Alignment> found = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : cluster.read(topics.alignments(), count)) {
            found.put(TestCluster.text(record.key()), Alignment.getDecoder().decode(ByteBuffer.wrap(record.value())));
        }
        assertEquals(count, found.size());
        return found;
    }
}
