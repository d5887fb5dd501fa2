package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.dragoman.batch.PaddedBatch;
import io.dragoman.tokenize.TokenizedText;
import io.dragoman.tokenize.TokenizerPair;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Real graphs of untrained models, and what is said of one that does not fit its manifest. */
class OnnxTranslationModelTest {
    private static final long[] FREE = {};
    private static final DecodingOptions BEAM_3 = new DecodingOptions(3, 12, 0.5);

    @TempDir
    Path folder;

    private static List<List<Hypothesis>> decode(String bundle, DecodingOptions options, String... texts)
            throws Exception {
        Bundle opened = Bundle.open(TinyBundles.folder(bundle));
        try (TranslationModel model = OnnxTranslationModel.open(opened, OnnxTranslationModel.Placement.CPU);
                TokenizerPair tokenizers = opened.openTokenizers()) {
            List<TokenizedText> sources =
                    Arrays.stream(texts).map(tokenizers.source()::tokenize).toList();
            PaddedBatch batch =
                    new PaddedBatch(sources, opened.manifest().specialIds().pad());
            return model.decode(batch, sources.stream().map(source -> FREE).toList(), options);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"attending", "blind", "every-slot"})
    void shouldKeepEveryPropertyOfABundle(String name) {
        List<BundleVerification.Check> checks = BundleVerification.of(TinyBundles.folder(name));
        assertEquals(7, checks.size());
        assertTrue(checks.stream().allMatch(BundleVerification.Check::holds), checks.toString());
    }

    @Test
    void shouldKeepEightBitProductsOffAGpu() throws Exception {
        Bundle whole = Bundle.open(TinyBundles.folder("attending"));
        Bundle eightBits = new Bundle(whole.folder(), FakeTranslationModel.withEightBits(whole.manifest()));
        BundleException refused = assertThrows(
                BundleException.class,
                () -> OnnxTranslationModel.open(
                        eightBits, new OnnxTranslationModel.Placement(new OnnxTranslationModel.Gpu(0, 0), 1, 1)));
        assertEquals(
                List.of("8-bit products run on CPUs only: for a GPU make the bundle with --weights half"),
                refused.faults());
    }

    @Test
    void shouldSayWhatADeviceNeeds() throws Exception {
        Bundle bundle = Bundle.open(TinyBundles.folder("attending"));
        int none = 999; // on any machine
        BundleException refused = assertThrows(
                BundleException.class,
                () -> OnnxTranslationModel.open(
                        bundle, new OnnxTranslationModel.Placement(new OnnxTranslationModel.Gpu(none, 0), 1, 1)));
        String fault = refused.faults().get(0);
        assertTrue(fault.startsWith("model.onnx cannot be loaded: "), fault);
        assertTrue(fault.endsWith("CUDA's libraries and the build made with -Pgpu"), fault);
    }

    @Test
    void shouldGiveTheBeamsHypothesesBestFirstAndNoMore() throws Exception {
        for (List<Hypothesis> found : decode("attending", BEAM_3, "le chat noir", "été", "chats")) {
            assertEquals(3, found.size());
            for (int i = 1; i < found.size(); i++) {
                assertTrue(found.get(i - 1).rank(0.5) >= found.get(i).rank(0.5));
            }
            assertTrue(found.stream().allMatch(h -> h.attention().orElseThrow().rows() == h.length()));
        }
        assertEquals(
                1,
                decode("attending", new DecodingOptions(1, 12, 0.5), "été")
                        .get(0)
                        .size());
    }

    @ParameterizedTest
    @ValueSource(strings = {"attending", "blind", "every-slot"})
    void shouldFindTheSameBestOnesHoweverManyAreWanted(String bundle) throws Exception {
        String[] texts = {"le chat noir", "été", "chats", "the black cat."};
        List<List<Hypothesis>> all = decode(bundle, BEAM_3, texts);
        for (int best = 1; best <= 3; best++) {
            List<List<Hypothesis>> found = decode(bundle, new DecodingOptions(3, best, 12, 0.5), texts);
            for (int row = 0; row < texts.length; row++) {
                assertEquals(best, found.get(row).size());
                for (int n = 0; n < best; n++) {
                    same(all.get(row).get(n), found.get(row).get(n), 0);
                }
            }
        }
    }

    private static void same(Hypothesis expected, Hypothesis found, float apart) {
        assertArrayEquals(expected.ids(), found.ids());
        assertArrayEquals(expected.logProbs(), found.logProbs(), apart);
        assertEquals(expected.attention().isPresent(), found.attention().isPresent());
        for (int row = 0; row < expected.attention().map(AlignmentMatrix::rows).orElse(0); row++) {
            AlignmentMatrix a = expected.attention().orElseThrow();
            float[] wanted = new float[a.columns()];
            float[] weights = new float[a.columns()];
            a.copyRow(row, wanted);
            found.attention().orElseThrow().copyRow(row, weights);
            assertArrayEquals(wanted, weights, apart);
        }
    }

    @Test
    void shouldReadAGraphWhoseSlotsAllHaveAttention() throws Exception {
        String[] texts = {"le chat noir", "été", "le noir 42 chat le noir"};
        List<List<Hypothesis>> before = decode("every-slot", BEAM_3, texts);
        List<List<Hypothesis>> now = decode("attending", BEAM_3, texts);
        for (int row = 0; row < texts.length; row++) {
            for (int n = 0; n < 3; n++) {
                same(before.get(row).get(n), now.get(row).get(n), 1e-5f); // another exporter's: sums in another order
            }
        }
    }

    @Test
    void shouldTranslateWithoutAttention() throws Exception {
        List<Hypothesis> blind = decode("blind", BEAM_3, "été").get(0);
        List<Hypothesis> attending = decode("attending", BEAM_3, "été").get(0);
        for (int i = 0; i < blind.size(); i++) {
            assertArrayEquals(attending.get(i).ids(), blind.get(i).ids());
            assertEquals(Optional.empty(), blind.get(i).attention());
        }
    }

    @Test
    void shouldEndAtTheFlatLimit() throws Exception {
        Hypothesis cut = decode("attending", BEAM_3, "le chat noir").get(0).get(0);
        assertEquals(12, cut.length());
        assertTrue(cut.truncated());
    }

    @Test
    void shouldCutARunOffAfterItsTimeAndGoOn() throws Exception {
        Bundle opened = Bundle.open(TinyBundles.folder("attending"));
        Duration limit = Duration.ofMillis(200);
        try (TranslationModel model = OnnxTranslationModel.open(opened, OnnxTranslationModel.Placement.CPU, limit);
                TokenizerPair tokenizers = opened.openTokenizers()) {
            TokenizedText text = tokenizers.source().tokenize("le chat noir");
            long pad = opened.manifest().specialIds().pad();
            PaddedBatch endless = new PaddedBatch(Collections.nCopies(20_000, text), pad);
            DecodingOptions tooFar = new DecodingOptions(6, 2000, 0.5);
            ModelException cut = assertThrows(
                    ModelException.class, () -> model.decode(endless, Collections.nCopies(20_000, FREE), tooFar));
            assertEquals("the run was cut off after 200 ms of processor time", cut.getMessage());
            assertTrue(cut.isCutOff());
            assertEquals(
                    12,
                    model.decode(new PaddedBatch(List.of(text), pad), List.of(FREE), BEAM_3)
                            .get(0)
                            .get(0)
                            .length());
        }
    }

    @Test
    void shouldAnswerAlikeFromEverySession() throws Exception {
        Bundle opened = Bundle.open(TinyBundles.folder("attending"));
        OnnxTranslationModel.Placement two = new OnnxTranslationModel.Placement(null, 1, 2);
        ExecutorService callers = Executors.newFixedThreadPool(4); // more than sessions
        try (TranslationModel model = OnnxTranslationModel.open(opened, two);
                TokenizerPair tokenizers = opened.openTokenizers()) {
            PaddedBatch batch = new PaddedBatch(
                    List.of(tokenizers.source().tokenize("le chat noir")),
                    opened.manifest().specialIds().pad());
            List<Future<List<Hypothesis>>> answers = callers.invokeAll(Collections.nCopies(
                    40, () -> model.decode(batch, List.of(FREE), BEAM_3).get(0)));
            List<Hypothesis> expected =
                    decode("attending", BEAM_3, "le chat noir").get(0);
            for (Future<List<Hypothesis>> answer : answers) {
                for (int i = 0; i < expected.size(); i++) {
                    assertArrayEquals(expected.get(i).ids(), answer.get().get(i).ids());
                    assertArrayEquals(
                            expected.get(i).logProbs(), answer.get().get(i).logProbs());
                }
            }
        } finally {
            callers.shutdownNow();
        }
    }

    @Test
    void shouldHaveOneSessionOnAGpu() {
        OnnxTranslationModel.Gpu gpu = new OnnxTranslationModel.Gpu(0, 0);
        assertThrows(IllegalArgumentException.class, () -> new OnnxTranslationModel.Placement(gpu, 1, 2));
        assertThrows(IllegalArgumentException.class, () -> new OnnxTranslationModel.Placement(null, 1, 0));
    }

    private final ObjectMapper mapper = new ObjectMapper();

    private ObjectNode manifest() throws IOException {
        return (ObjectNode) mapper.readTree(Files.readAllBytes(folder.resolve("bundle.json")));
    }

    private void write(ObjectNode manifest) throws IOException {
        mapper.writeValue(folder.resolve("bundle.json").toFile(), manifest);
    }

    /** Lists the folder's own bundle.json's idea of a file anew. */
    private void list(ObjectNode manifest, String file) throws IOException {
        ((ObjectNode) manifest.get("files"))
                .putObject(file)
                .put("sha256", Bundle.sha256(folder.resolve(file)))
                .put("bytes", Files.size(folder.resolve(file)));
    }

    private List<String> faults() {
        return BundleVerification.of(folder).stream()
                .flatMap(check -> check.faults().stream())
                .toList();
    }

    @Test
    void shouldPutTheFaultsOfFilesAndGraphInOneList() throws IOException {
        TinyBundles.copy("attending", folder);
        ObjectNode manifest = manifest();
        ((ObjectNode) manifest.get("vocabulary"))
                .put("source_size", 45)
                .put("target_size", 46)
                .put("sha256", "00");
        Files.delete(folder.resolve("golden.tsv"));
        write(manifest);
        assertEquals(
                List.of(
                        "golden.tsv is missing",
                        "target_tokenizer.json should have at least 46 entries: has 44",
                        "tokenizer.json should have at least 45 entries: has 44",
                        "vocabulary.sha256 is not that of tokenizer.json",
                        "the graph's dragoman.vocabulary_sha256 should be 00: was "
                                + Bundle.sha256(folder.resolve("tokenizer.json")),
                        "the graph's dragoman.source_vocabulary should be 45: was 44",
                        "the graph's dragoman.target_vocabulary should be 46: was 44"),
                faults());
    }

    @Test
    void shouldFindAVocabularyThatTheGraphCannotTakeWhenItsMetadataDoesNotTell() throws Exception {
        TinyBundles.copy("attending", folder);
        Path model = folder.resolve("model.onnx");
        byte[] bytes = Files.readAllBytes(model);
        for (String key : List.of("dragoman.source_vocabulary", "dragoman.target_vocabulary")) {
            int at = indexOf(bytes, key.getBytes(java.nio.charset.StandardCharsets.UTF_8));
            bytes[at] = 'D'; // now a key that nobody knows
        }
        Files.write(model, bytes);
        ObjectNode manifest = manifest();
        list(manifest, "model.onnx");
        write(manifest);
        assertEquals(List.of(), faults());
        ((ObjectNode) manifest.get("vocabulary")).put("source_size", 45);
        write(manifest);
        List<String> faults = faults();
        assertEquals("tokenizer.json should have at least 45 entries: has 44", faults.get(0));
        assertTrue(
                faults.get(1)
                        .startsWith("a step with the last of 45 source and 44 target ids should work: ONNX Runtime: "),
                faults.toString());
        ((ObjectNode) manifest.get("vocabulary")).put("source_size", 44).put("target_size", 45);
        write(manifest);
        assertTrue(
                faults().get(1)
                        .startsWith("a step with the last of 44 source and 45 target ids should work: ONNX Runtime: "),
                faults().toString());
    }

    private static int indexOf(byte[] bytes, byte[] sought) {
        for (int at = 0; at + sought.length <= bytes.length; at++) {
            if (Arrays.equals(bytes, at, at + sought.length, sought, 0, sought.length)) {
                return at;
            }
        }
        throw new AssertionError("not there");
    }

    @Test
    void shouldFindAGraphWithoutTheAttentionThatTheManifestPublishes() throws IOException {
        TinyBundles.copy("blind", folder);
        ObjectNode manifest = manifest();
        manifest.putObject("attention").put("published", true);
        write(manifest);
        assertEquals(
                List.of("a step with the last of 44 source and 44 target ids should work: the graph's outputs should be"
                        + " [attention, log_probs, parents, scores, tokens]: were [log_probs, parents, scores,"
                        + " tokens]"),
                faults());
    }

    @Test
    void shouldNotLoadATruncatedGraph() throws IOException {
        TinyBundles.copy("attending", folder);
        Path model = folder.resolve("model.onnx");
        byte[] bytes = Files.readAllBytes(model);
        Files.write(model, Arrays.copyOf(bytes, 5000));
        assertEquals(
                List.of("model.onnx should have " + bytes.length + " bytes: has 5000 (truncated or replaced?)"),
                faults());
    }

    @Test
    void shouldSayWhenAGraphCannotBeLoaded() throws Exception {
        TinyBundles.copy("attending", folder);
        Files.writeString(folder.resolve("model.onnx"), "no graph");
        ObjectNode manifest = manifest();
        list(manifest, "model.onnx");
        write(manifest);
        List<String> faults = faults();
        assertEquals(1, faults.size());
        assertTrue(faults.get(0).startsWith("model.onnx cannot be loaded: "), faults.toString());
        Bundle bundle = Bundle.open(folder);
        assertThrows(
                BundleException.class, () -> OnnxTranslationModel.open(bundle, OnnxTranslationModel.Placement.CPU));
    }
}
