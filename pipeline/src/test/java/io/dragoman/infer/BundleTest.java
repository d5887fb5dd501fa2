package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.dragoman.tokenize.TinyTokenizer;
import io.dragoman.tokenize.TokenizerPair;
import io.dragoman.tokenize.UnigramTokenizer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A folder that is sound but for its graph, and what is said when it is not. */
class BundleTest {
    private final ObjectMapper mapper = new ObjectMapper();
    private ObjectNode manifest;

    @TempDir
    Path folder;

    @BeforeEach
    void makeFolder() throws IOException {
        Files.write(folder.resolve("model.onnx"), new byte[] {1, 2, 3, 4});
        Files.copy(TinyTokenizer.file(), folder.resolve("tokenizer.json"));
        Files.writeString(folder.resolve("golden.tsv"), "le chat\tthe cat\t0-0 1-1\t-0.5\t1\n");
        manifest = mapper.createObjectNode()
                .put("format_version", 1)
                .put("name", "fr-en-tiny")
                .put("version", "1.0.0")
                .put("architecture", "S1")
                .put("architecture_name", "RNNsearch")
                .put("a_field_of_the_future", 1);
        manifest.putObject("languages").put("source", "fr").put("target", "en");
        manifest.putObject("vocabulary")
                .put("source_size", TinyTokenizer.SIZE)
                .put("target_size", TinyTokenizer.SIZE)
                .put("sha256", Bundle.sha256(folder.resolve("tokenizer.json")));
        manifest.putObject("special_ids")
                .put("pad", 0)
                .put("start", 1)
                .put("end", 2)
                .put("unknown", 3);
        manifest.putObject("limits")
                .put("max_source_tokens", 200)
                .put("max_target_tokens", 256)
                .put("target_ratio", 2)
                .put("target_offset", 20);
        manifest.putObject("decoding").put("beam_size", 4).put("length_penalty", 1.0);
        manifest.putObject("attention")
                .put("published", true)
                .put("layer", 0)
                .put("shift", 0)
                .putArray("heads")
                .add(0);
        manifest.putObject("scores");
        ObjectNode files = manifest.putObject("files");
        for (String name : List.of("model.onnx", "tokenizer.json", "golden.tsv")) {
            files.putObject(name)
                    .put("sha256", Bundle.sha256(folder.resolve(name)))
                    .put("bytes", Files.size(folder.resolve(name)));
        }
    }

    private Bundle open() throws IOException, BundleException {
        mapper.writeValue(folder.resolve("bundle.json").toFile(), manifest);
        return Bundle.open(folder);
    }

    private List<String> faults() {
        return assertThrows(BundleException.class, this::open).faults();
    }

    private ObjectNode object(String name) {
        return (ObjectNode) manifest.get(name);
    }

    @Test
    void shouldOpenASoundFolder() throws Exception {
        Bundle bundle = open();
        assertEquals("fr-en-tiny", bundle.manifest().name());
        assertEquals("fr", bundle.manifest().languages().source());
        assertEquals(new DecodingOptions(4, 1, 256, 1.0), bundle.manifest().defaultOptions());
        assertEquals(
                "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a",
                bundle.manifest().modelSha256());
        try (TokenizerPair tokenizers = bundle.openTokenizers()) {
            assertEquals(310, tokenizers.source().vocabularySize());
            assertSame(tokenizers.source(), tokenizers.target());
        }
        assertEquals(LinkChoice.DEFAULT, bundle.manifest().attention().links());
    }

    private void add(String name) throws IOException {
        object("files")
                .putObject(name)
                .put("sha256", Bundle.sha256(folder.resolve(name)))
                .put("bytes", Files.size(folder.resolve(name)));
    }

    @Test
    void shouldOpenATargetTokenizerOfItsOwn() throws Exception {
        UnigramTokenizer.copyTo(folder.resolve("target_tokenizer.json"));
        add("target_tokenizer.json");
        object("vocabulary").put("target_size", UnigramTokenizer.SIZE);
        object("special_ids").put("unknown", 1).put("end", 0).put("pad", 43).put("start", 43);
        assertEquals(
                List.of("tokenizer.json should have special_ids.unknown, 1, as its unknown token: has 3"), faults());
        Files.copy(
                folder.resolve("target_tokenizer.json"),
                folder.resolve("tokenizer.json"),
                StandardCopyOption.REPLACE_EXISTING);
        add("tokenizer.json");
        object("vocabulary")
                .put("source_size", UnigramTokenizer.SIZE)
                .put("sha256", Bundle.sha256(folder.resolve("tokenizer.json")));
        try (TokenizerPair tokenizers = open().openTokenizers()) {
            assertNotSame(tokenizers.source(), tokenizers.target());
            assertEquals(
                    "le chat",
                    tokenizers.target().detokenize(new long[] {5, 6, 0}).text());
        }
    }

    @Test
    void shouldHoldATargetTokenizerAgainstTheManifest() throws IOException {
        UnigramTokenizer.copyTo(folder.resolve("target_tokenizer.json"));
        assertEquals(List.of("target_tokenizer.json is there and not listed under files"), faults());
        add("target_tokenizer.json");
        object("vocabulary").put("target_size", 45);
        assertEquals(
                List.of(
                        "target_tokenizer.json should have at least 45 entries: has 44",
                        "target_tokenizer.json should have special_ids.unknown, 3, as its unknown token: has 1"),
                faults());
        Files.delete(folder.resolve("target_tokenizer.json"));
        assertEquals(List.of("target_tokenizer.json is missing"), faults());
    }

    @Test
    void shouldFindASpecialTokenThatIsMissing() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(file, Files.readString(file).replace("\"unk_token\": \"<unk>\"", "\"unk_token\": null"));
        add("tokenizer.json");
        object("vocabulary").put("sha256", Bundle.sha256(file));
        object("special_ids").put("pad", 2);
        assertEquals(
                List.of(
                        "tokenizer.json should have special_ids.unknown, 3, as its unknown token: has none",
                        "special_ids.end should be an id of its own: were SpecialIds[pad=2, start=1, end=2,"
                                + " unknown=3]"),
                faults());
    }

    @Test
    void shouldTakeAStartThatIsThePadding() throws Exception {
        object("special_ids").put("start", 0);
        assertEquals(0, open().manifest().specialIds().start());
    }

    @Test
    void shouldTakeOneLimitForAllSentences() throws Exception {
        object("limits").put("target_ratio", 0).put("target_offset", 511);
        assertEquals(
                new BundleManifest.Limits(200, 256, 0, 511), open().manifest().limits());
        object("limits").put("target_ratio", 2).put("target_offset", 0);
        assertEquals(
                new BundleManifest.Limits(200, 256, 2, 0), open().manifest().limits());
    }

    @ParameterizedTest
    @CsvSource({"0, 0", "-1, 20", "2, -1", "1, -1"})
    void shouldRefuseLimitsThatAllowNothing(int ratio, int offset) {
        object("limits").put("target_ratio", ratio).put("target_offset", offset);
        assertEquals(
                List.of("limits should have target_ratio and target_offset of at least 0, not both 0: were"
                        + " Limits[maxSourceTokens=200, maxTargetTokens=256, targetRatio=" + ratio
                        + ", targetOffset=" + offset + "]"),
                faults());
    }

    @Test
    void shouldTakeAModelWithoutAttention() throws Exception {
        manifest.putObject("attention").put("published", false);
        manifest.remove("architecture_name");
        manifest.remove("scores");
        Files.writeString(folder.resolve("golden.tsv"), "le chat\tthe cat\t\t-0.5\t\n");
        add("golden.tsv");
        BundleManifest found = open().manifest();
        assertFalse(found.attention().published());
        assertEquals(LinkChoice.DEFAULT, found.attention().links());
        assertEquals(
                List.of(), GoldenFile.read(folder.resolve("golden.tsv")).get(0).weights());
    }

    @Test
    void shouldReadHowLinksAreChosen() throws Exception {
        object("attention")
                .putObject("links")
                .put("end", "kept")
                .put("merge", "max")
                .put("threshold", 0.3);
        LinkChoice choice = open().manifest().attention().links();
        assertEquals(new LinkChoice(LinkChoice.End.KEPT, LinkChoice.Merge.MAX, 0.3f), choice);
        assertEquals("end kept, max, >= 0.3", choice.toString());
        object("attention")
                .putObject("links")
                .put("end", "renormalised")
                .put("merge", "sum")
                .putNull("threshold");
        choice = open().manifest().attention().links();
        assertEquals(new LinkChoice(LinkChoice.End.RENORMALISED, LinkChoice.Merge.SUM, null), choice);
        assertEquals("end renormalised, sum, argmax", choice.toString());
    }

    @Test
    void shouldRefuseAChoiceOfLinksThatItDoesNotKnow() {
        object("attention").putObject("links").put("end", "doubled").put("merge", "mean");
        assertEquals(1, faults().size());
        assertTrue(faults().get(0).startsWith("bundle.json: "), faults().get(0));
        assertTrue(faults().get(0).contains("\"doubled\""), faults().get(0));
    }

    @Test
    void shouldFindAGoldenFileThatIsNone() throws IOException {
        Files.write(folder.resolve("golden.tsv"), new byte[] {'a', (byte) 0xe9, '\n'});
        add("golden.tsv");
        assertEquals(List.of(folder.resolve("golden.tsv") + ": should be UTF-8: it is not"), faults());
    }

    @Test
    void shouldListEveryFaultAtOnce() throws IOException {
        Files.delete(folder.resolve("golden.tsv"));
        Files.write(folder.resolve("model.onnx"), new byte[] {1, 2, 3});
        object("vocabulary").put("source_size", 8000).put("sha256", "00");
        object("special_ids").put("end", 310).put("pad", -1);
        object("limits").put("max_source_tokens", 0);
        object("decoding").put("beam_size", 0);
        object("files").putObject("../outside").put("sha256", "00").put("bytes", 1);
        assertEquals(
                List.of(
                        "../outside should be a plain file name",
                        "golden.tsv is missing",
                        "model.onnx should have 4 bytes: has 3 (truncated or replaced?)",
                        "limits should allow at least 2 tokens on both sides: were Limits[maxSourceTokens=0, maxTargetTokens=256, targetRatio=2,"
                                + " targetOffset=20]",
                        "decoding should have a positive beam size and length penalty, and a beam threshold of at least"
                                + " 0: was Decoding[beamSize=0, lengthPenalty=1.0, beamThreshold=0.0]",
                        "vocabulary.target_size should be source_size, 8000, without a target_tokenizer.json: was 310",
                        "tokenizer.json should have at least 8000 entries: has 310",
                        "vocabulary.sha256 is not that of tokenizer.json",
                        "special_ids.end should be in the vocabulary: was 310",
                        "special_ids.pad should be in the vocabulary: was -1"),
                faults());
    }

    @Test
    void shouldPutEveryFaultInOneLine() throws IOException {
        Files.delete(folder.resolve("golden.tsv"));
        Files.delete(folder.resolve("model.onnx"));
        BundleException e = assertThrows(BundleException.class, this::open);
        assertEquals(
                "bundle " + folder + " cannot be used: golden.tsv is missing; model.onnx is missing", e.getMessage());
    }

    @Test
    void shouldSayWhenAFolderIsNone() {
        BundleException e = assertThrows(BundleException.class, () -> Bundle.open(folder.resolve("nowhere")));
        assertEquals(List.of("bundle.json is missing: is this a model folder?"), e.faults());
    }

    @Test
    void shouldFindAFileOfTheRightSizeThatIsAnother() throws IOException {
        Files.write(folder.resolve("model.onnx"), new byte[] {1, 2, 3, 5});
        assertEquals(List.of("model.onnx is not the file the manifest was made for: its SHA-256 differs"), faults());
    }

    @Test
    void shouldFindATruncatedTokenizer() throws IOException {
        byte[] whole = Files.readAllBytes(folder.resolve("tokenizer.json"));
        Files.write(folder.resolve("tokenizer.json"), java.util.Arrays.copyOf(whole, 500));
        List<String> faults = faults();
        assertEquals(
                "tokenizer.json should have " + whole.length + " bytes: has 500 (truncated or replaced?)",
                faults.get(0));
        assertTrue(faults.get(1).startsWith(folder.resolve("tokenizer.json") + ": not JSON: "), faults.get(1));
        assertEquals(2, faults.size());
    }

    @Test
    void shouldNeedEveryFileListed() {
        object("files").remove("model.onnx");
        object("files").remove("tokenizer.json");
        object("files").remove("golden.tsv");
        assertEquals(
                List.of(
                        "model.onnx is not listed under files",
                        "tokenizer.json is not listed under files",
                        "golden.tsv is not listed under files"),
                faults());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"../model.onnx", "/etc/passwd", "a/b", "..\\model.onnx", "..", ".", "", "a\u0000b", "a\nb\n/c"})
    void shouldNotLeaveTheFolder(String name) {
        object("files").putObject(name).put("sha256", "00").put("bytes", 1);
        assertEquals(List.of(name + " should be a plain file name"), faults());
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 2, -1})
    void shouldRefuseAnotherFormatBeforeAnythingElse(int version) {
        manifest.removeAll().put("format_version", version).put("something", "else");
        assertEquals(
                List.of("format_version should be 1: was " + version
                        + " (use a Dragoman that knows it, or export the model again)"),
                faults());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "'' ; bundle.json should be a JSON object",
                "null ; bundle.json should be a JSON object",
                "[1, 2] ; bundle.json should be a JSON object",
                "{ ; bundle.json: Unexpected end-of-input",
                "{} ; format_version should be 1: was null",
                "{\"format_version\": \"1\"} ; format_version should be 1: was \"1\"",
                "{\"format_version\": 1} ; bundle.json: Missing required creator property 'name'"
            })
    void shouldSayWhatIsWrongWithAManifest(String json, String fault) throws IOException {
        Files.write(folder.resolve("bundle.json"), json.getBytes(StandardCharsets.UTF_8));
        BundleException e = assertThrows(BundleException.class, () -> Bundle.open(folder));
        assertEquals(1, e.faults().size());
        assertTrue(e.faults().get(0).startsWith(fault), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"languages", "vocabulary", "special_ids", "limits", "decoding", "attention", "name"})
    void shouldRefuseNullWhereSomethingIsNeeded(String field) {
        manifest.putNull(field);
        assertEquals(1, faults().size());
        assertTrue(faults().get(0).startsWith("bundle.json: "), faults().get(0));
    }

    @Test
    void shouldNeedOneVocabularyForBothLanguages() {
        object("vocabulary").put("target_size", 400);
        assertEquals(
                List.of("vocabulary.target_size should be source_size, 310, without a target_tokenizer.json: was 400"),
                faults());
    }

    @Test
    void shouldReadGoldenSentences() throws IOException {
        Path file = folder.resolve("golden.tsv");
        Files.writeString(
                file,
                "# source\ttranslation\nle chat\tthe cat\t0-0 1-1\t-0.25\t0.75,0.25;0.125,0.875\n\u00e9t\u00e9\t\t\t0\t1\n");
        List<GoldenFile.Example> examples = GoldenFile.read(file);
        assertEquals(2, examples.size());
        assertEquals("le chat", examples.get(0).source());
        assertEquals("the cat", examples.get(0).translation());
        assertEquals("0-0 1-1", examples.get(0).links());
        assertEquals(-0.25, examples.get(0).score());
        assertArrayEquals(new float[] {0.75f, 0.25f}, examples.get(0).weights().get(0));
        assertArrayEquals(
                new float[] {0.125f, 0.875f}, examples.get(0).weights().get(1));
        assertEquals("été", examples.get(1).source());
        assertEquals("", examples.get(1).translation());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "'' ; should have at least one sentence",
                "'# only a comment\n' ; should have at least one sentence",
                "'a\tb\tc\t0\n' ; 1: should have 5 columns: has 4",
                "'# x\na\tb\tc\t0\t1\t2\n' ; 2: should have 5 columns: has 6",
                "'a\tb\tc\tmuch\t1\n' ; 1: For input string: \"much\"",
                "'a\tb\tc\t0\t1,x\n' ; 1: For input string: \"x\"",
                "'a\tb\tc\t0\t1,\n' ; 1: empty String"
            })
    void shouldSayWhereAGoldenFileIsWrong(String text, String message) throws IOException {
        Path file = folder.resolve("golden.tsv");
        Files.write(file, text.getBytes(StandardCharsets.UTF_8));
        IOException e = assertThrows(IOException.class, () -> GoldenFile.read(file));
        assertTrue(e.getMessage().startsWith(file + ":"), e.getMessage());
        assertTrue(e.getMessage().endsWith(message), e.getMessage());
    }
}
