package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.batch.PaddedBatch;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TinyTokenizer;
import io.dragoman.tokenize.TokenizerPair;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A sound model passes every check, and each kind of unsound one fails the check made for it. */
class BundleVerificationTest {
    /** The echo of FakeTranslationModel: 0.75 on the token's own place, 0.125 on the two others. */
    private static final String WEIGHTS = "0.75,0.125,0.125;0.125,0.75,0.125;0.125,0.125,0.75";

    private SubwordTokenizer tokenizer;

    @TempDir
    Path folder;

    @BeforeEach
    void open() throws IOException {
        tokenizer = TinyTokenizer.open();
        golden("le chat\tle chat\t0-0 1-1\t-0.5\t" + WEIGHTS, "noir\tnoir\t0-0\t-0.5\t" + WEIGHTS);
    }

    @AfterEach
    void close() {
        tokenizer.close();
    }

    private void golden(String... lines) throws IOException {
        Files.write(folder.resolve("golden.tsv"), List.of(lines));
    }

    private List<BundleVerification.Check> checks(TranslationModel model) throws IOException {
        return BundleVerification.run(new Bundle(folder, model.manifest()), model, TokenizerPair.shared(tokenizer));
    }

    private List<String> failing(TranslationModel model) throws IOException {
        return checks(model).stream().flatMap(check -> check.faults().stream()).toList();
    }

    /** Answers as the echo does, then lets a subclass spoil it. */
    private abstract static class Spoilt implements TranslationModel {
        private final FakeTranslationModel echo = FakeTranslationModel.echo();

        abstract Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix);

        @Override
        public BundleManifest manifest() {
            return echo.manifest();
        }

        @Override
        public List<List<Hypothesis>> decode(PaddedBatch batch, List<long[]> prefixes, DecodingOptions options) {
            List<List<Hypothesis>> found = new ArrayList<>();
            for (List<Hypothesis> row : echo.decode(batch, prefixes, options)) {
                found.add(List.of(spoil(row.get(0), batch, prefixes.get(found.size()))));
            }
            return found;
        }

        @Override
        public void close() {}
    }

    private static Hypothesis withFirstWeight(Hypothesis good, float change) {
        AlignmentMatrix matrix = good.attention().orElseThrow();
        float[] weights = new float[matrix.rows() * matrix.columns()];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = matrix.at(i / matrix.columns(), i % matrix.columns()) + (i == 0 ? change : 0);
        }
        return new Hypothesis(
                good.ids(),
                good.logProbs(),
                Optional.of(new AlignmentMatrix(matrix.rows(), matrix.columns(), weights)),
                good.truncated());
    }

    @Test
    void shouldPassASoundModel() throws IOException {
        List<BundleVerification.Check> checks = checks(FakeTranslationModel.echo());
        assertEquals(
                List.of(
                        "ok    golden sentences (ONNX = PyTorch): 2 sentences, largest difference 0.0e+00 (at most 1e-04)",
                        "ok    padded batch = single sentence: largest difference 0.0e+00 (at most 1e-04)",
                        "ok    attention of the search = of a forced pass: largest difference 0.0e+00 (at most 1e-04)",
                        "ok    Loop = step-driven: largest difference 0.0e+00 (at most 1e-04)",
                        "ok    rows sum to 1, nothing on padding: largest difference 0.0e+00 (at most 1e-04)"),
                checks.stream().map(BundleVerification.Check::toString).toList());
        assertTrue(checks.stream().allMatch(BundleVerification.Check::holds));
    }

    @Test
    void shouldFindAnotherTranslation() throws IOException {
        golden("le chat\tthe cat\t0-0 1-1\t-0.5\t" + WEIGHTS);
        assertEquals(
                List.of("golden sentences (ONNX = PyTorch): another translation in sentences [1]"),
                failing(FakeTranslationModel.echo()));
    }

    @Test
    void shouldFindOtherLinks() throws IOException {
        golden("le chat\tle chat\t0-0 1-1\t-0.5\t" + WEIGHTS, "noir\tnoir\t1-0\t-0.5\t" + WEIGHTS);
        assertEquals(
                List.of("golden sentences (ONNX = PyTorch): other links in sentences [2]"),
                failing(FakeTranslationModel.echo()));
    }

    @Test
    void shouldFindAnotherScore() throws IOException {
        golden("le chat\tle chat\t0-0 1-1\t-0.75\t" + WEIGHTS);
        assertEquals(
                List.of("golden sentences (ONNX = PyTorch): 1 sentences, largest difference 2.5e-01 (at most 1e-04)"),
                failing(FakeTranslationModel.echo()));
    }

    /** Two programs that round to 8 bits differ by another draw of the rounding, now and then in a word. */
    @Test
    void shouldAllowEightBitsTheirRounding() throws IOException {
        golden(
                "le chat\tle chat\t0-0 1-1\t-0.6\t" + WEIGHTS,
                "noir\tnoir\t0-0\t-0.5\t" + WEIGHTS,
                "noir\tblack\t0-0\t-0.5\t" + WEIGHTS,
                "noir\tnoir\t0-0\t-0.5\t" + WEIGHTS);
        TranslationModel model = eightBits();
        assertEquals(List.of(), failing(model));
        assertEquals(
                "ok    golden sentences (ONNX = PyTorch): 4 sentences, 1 of them otherwise, mean difference 3.3e-02"
                        + " (at most 5e-02)",
                checks(model).get(0).toString());
    }

    @Test
    void shouldFindEightBitsThatAreFurtherOff() throws IOException {
        golden("le chat\tle chat\t0-0 1-1\t-0.8\t" + WEIGHTS, "noir\tblack\t0-0\t-0.5\t" + WEIGHTS);
        assertEquals(
                List.of(
                        "golden sentences (ONNX = PyTorch): another translation in sentences [2]",
                        "golden sentences (ONNX = PyTorch): 2 sentences, 1 of them otherwise, mean difference 3.0e-01 (at most 5e-02)"),
                failing(eightBits()));
    }

    @Test
    void shouldHoldEightBitsToTheLinksOfTheFilesWeights() throws IOException {
        golden("le chat\tle chat\t0-0 1-1\t-0.5\t" + WEIGHTS, "noir\tnoir\t1-0\t-0.5\t" + WEIGHTS);
        assertEquals(List.of("golden sentences (ONNX = PyTorch): other links in sentences [2]"), failing(eightBits()));
    }

    private static TranslationModel eightBits() {
        return new Spoilt() {
            @Override
            public BundleManifest manifest() {
                return FakeTranslationModel.withEightBits(super.manifest());
            }

            @Override
            Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix) {
                return good;
            }
        };
    }

    @Test
    void shouldFindAModelThatSeesItsBatch() throws IOException {
        TranslationModel model = new Spoilt() {
            @Override
            Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix) {
                return batch.rows() > 1 && prefix.length == 0 && good.length() > 1
                        ? FakeTranslationModel.hypothesis(batch.sentence(0), 261, 2)
                        : good;
            }
        };
        assertEquals(
                List.of(
                        "padded batch = single sentence: other tokens in sentences [1, 2]",
                        "Loop = step-driven: other tokens in sentences [1, 2]"),
                failing(model));
    }

    @Test
    void shouldFindASearchThatAttendsOtherwiseThanAForcedPass() throws IOException {
        TranslationModel model = new Spoilt() {
            @Override
            Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix) {
                return prefix.length == good.length() ? withFirstWeight(good, -0.25f) : good;
            }
        };
        assertEquals(
                List.of("attention of the search = of a forced pass: largest difference 2.5e-01 (at most 1e-04)"),
                failing(model));
    }

    @Test
    void shouldFindWeightOnPadding() throws IOException {
        golden("le chat\tle chat\t0-0 1-1\t-0.5\t" + WEIGHTS.replaceFirst("0.75", "0.5"));
        TranslationModel model = new Spoilt() {
            @Override
            Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix) {
                return withFirstWeight(good, -0.25f);
            }
        };
        assertEquals(
                List.of("rows sum to 1, nothing on padding: largest difference 2.5e-01 (at most 1e-04)"),
                failing(model));
    }

    @Test
    void shouldFindALoopWhoseStepsChooseOtherwise() throws IOException {
        TranslationModel model = new Spoilt() {
            @Override
            Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix) {
                if (prefix.length != 1) { // only the second step has one word before it
                    return good;
                }
                long[] ids = good.ids().clone();
                ids[1] = 261;
                return new Hypothesis(ids, good.logProbs(), good.attention(), true);
            }
        };
        assertEquals(List.of("Loop = step-driven: other tokens in sentences [1, 2]"), failing(model));
    }

    @Test
    void shouldFindALoopWhoseStepsAttendOtherwise() throws IOException {
        TranslationModel model = new Spoilt() {
            @Override
            Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix) {
                return prefix.length == 1 ? withFirstWeight(good, -0.25f) : good;
            }
        };
        assertEquals(List.of("Loop = step-driven: largest difference 2.5e-01 (at most 1e-04)"), failing(model));
    }

    /** With shift 1, which the fake's manifest states, the row of a step's newest token is not its last yet. */
    @Test
    void shouldNotCompareARowThatTheNextStepStillMakes() throws IOException {
        TranslationModel model = new Spoilt() {
            @Override
            Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix) {
                return prefix.length == 0 && good.length() == 1 ? withFirstWeight(good, -0.25f) : good;
            }
        };
        assertEquals(List.of(), failing(model));
    }

    @Test
    void shouldReportEveryFailingCheck() throws IOException {
        golden("le chat\tthe cat\t0-0 1-1\t-0.5\t" + WEIGHTS, "noir\tnoir\t1-0\t-0.5\t" + WEIGHTS);
        TranslationModel model = new Spoilt() {
            @Override
            Hypothesis spoil(Hypothesis good, PaddedBatch batch, long[] prefix) {
                if (prefix.length == good.length()) {
                    throw new ModelException("out of memory");
                }
                return good.length() > 1 && prefix.length == 0 && batch.rows() > 1
                        ? withFirstWeight(good, -0.25f)
                        : good;
            }
        };
        assertEquals(
                List.of(
                        "golden sentences (ONNX = PyTorch): another translation in sentences [1]",
                        "golden sentences (ONNX = PyTorch): other links in sentences [2]",
                        "padded batch = single sentence: largest difference 2.5e-01 (at most 1e-04)",
                        "attention of the search = of a forced pass: the model failed: out of memory",
                        "Loop = step-driven: largest difference 2.5e-01 (at most 1e-04)",
                        "rows sum to 1, nothing on padding: largest difference 2.5e-01 (at most 1e-04)"),
                failing(model));
    }

    @Test
    void shouldSayWhenTheModelCannotRunAtAll() throws IOException {
        TranslationModel model = FakeTranslationModel.echo().failingOn(text -> true);
        List<String> failing = failing(model);
        assertEquals("golden sentences (ONNX = PyTorch): the model failed: no answer for poison", failing.get(0));
        assertEquals(4, failing.size(), failing.toString());
    }

    @Test
    void shouldPassASoundModelWithoutAttention() throws IOException {
        golden("le chat\tle chat\t\t-0.5\t", "noir\tnoir\t\t-0.5\t");
        BundleManifest blind = FakeTranslationModel.withoutAttention(FakeTranslationModel.manifest("fr", "en", 20));
        TranslationModel model = FakeTranslationModel.answering(source -> List.of(new Hypothesis(
                        source.ids(),
                        FakeTranslationModel.hypothesis(source, source.ids()).logProbs(),
                        Optional.empty(),
                        false)))
                .with(blind);
        List<BundleVerification.Check> checks = checks(model);
        assertEquals(List.of(), failing(model));
        assertEquals(
                "ok    rows sum to 1, nothing on padding: no attention is published",
                checks.get(4).toString());
    }

    @Test
    void shouldListTheFaultsOfAFolderWithoutRunningIt() throws IOException {
        List<BundleVerification.Check> checks = BundleVerification.of(folder);
        assertEquals(
                List.of("FAIL  bundle.json is missing: is this a model folder?"),
                checks.stream().map(BundleVerification.Check::toString).toList());
    }
}
