package io.dragoman.infer;

import io.dragoman.batch.PaddedBatch;
import io.dragoman.tokenize.TinyTokenizer;
import io.dragoman.tokenize.TokenizedText;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * A model in memory: gives each sentence what a function says, and remembers its runs. It attends to the source token at
 * the target token's own position with {@link #SHARP}, and to the others evenly with the rest.
 *
 * <p>Change what it does before sentences are submitted.
 */
public final class FakeTranslationModel implements TranslationModel {
    public static final float SHARP = 0.75f;
    public static final float LOG_PROB = -0.5f;

    private final BundleManifest manifest;
    private final Function<TokenizedText, List<Hypothesis>> answers;
    private final List<List<String>> runs = new CopyOnWriteArrayList<>();
    private volatile Predicate<String> poison = text -> false;
    private volatile Function<String, Throwable> failure = text -> new ModelException("no answer for poison");
    private volatile CountDownLatch started = new CountDownLatch(0);
    private volatile CountDownLatch gate = new CountDownLatch(0);
    private volatile boolean closed;

    private FakeTranslationModel(BundleManifest manifest, Function<TokenizedText, List<Hypothesis>> answers) {
        this.manifest = manifest;
        this.answers = answers;
    }

    /** Gives each text the ids that {@code translation} makes of it. */
    public static FakeTranslationModel translating(Function<String, long[]> translation) {
        return answering(source -> List.of(hypothesis(source, translation.apply(source.text()))));
    }

    /** Gives each text its own ids. */
    public static FakeTranslationModel echo() {
        return answering(source -> List.of(hypothesis(source, source.ids())));
    }

    /** Gives each text these hypotheses. */
    public static FakeTranslationModel answering(Function<TokenizedText, List<Hypothesis>> answers) {
        return new FakeTranslationModel(manifest("fr", "en", 20), answers);
    }

    /** The same with another manifest. */
    public FakeTranslationModel with(BundleManifest other) {
        return new FakeTranslationModel(other, answers);
    }

    /** Runs with such a text in them fail. */
    public FakeTranslationModel failingOn(Predicate<String> text) {
        poison = text;
        return this;
    }

    /** What failing runs throw, by the text at fault. */
    public FakeTranslationModel throwing(Function<String, Throwable> thrown) {
        failure = thrown;
        return this;
    }

    /** From now on every run counts {@code begun} down and then waits for {@code until}. */
    public FakeTranslationModel waiting(CountDownLatch begun, CountDownLatch until) {
        started = begun;
        gate = until;
        return this;
    }

    /** One hypothesis with the attention described above. */
    public static Hypothesis hypothesis(TokenizedText source, long... ids) {
        float[] logProbs = new float[ids.length];
        Arrays.fill(logProbs, LOG_PROB);
        int columns = source.length();
        float[] weights = new float[ids.length * columns];
        for (int row = 0; row < ids.length; row++) {
            for (int column = 0; column < columns; column++) {
                boolean own = column == Math.min(row, columns - 1);
                weights[row * columns + column] = columns == 1 ? 1 : own ? SHARP : (1 - SHARP) / (columns - 1);
            }
        }
        boolean ended = ids.length > 0 && ids[ids.length - 1] == TinyTokenizer.SPECIAL.end();
        return new Hypothesis(ids, logProbs, Optional.of(new AlignmentMatrix(ids.length, columns, weights)), !ended);
    }

    /** What is left of a hypothesis at the length limit. */
    static Hypothesis cut(Hypothesis whole, int limit) {
        if (whole.length() <= limit) {
            return whole;
        }
        Optional<AlignmentMatrix> rows = whole.attention().map(matrix -> {
            float[] weights = new float[limit * matrix.columns()];
            for (int i = 0; i < weights.length; i++) {
                weights[i] = matrix.at(i / matrix.columns(), i % matrix.columns());
            }
            return new AlignmentMatrix(limit, matrix.columns(), weights);
        });
        return new Hypothesis(Arrays.copyOf(whole.ids(), limit), Arrays.copyOf(whole.logProbs(), limit), rows, true);
    }

    /** A manifest for {@link TinyTokenizer}, beam 1. */
    public static BundleManifest manifest(String source, String target, int maxSourceTokens) {
        return new BundleManifest(
                1,
                source + "-" + target + "-tiny",
                "1.2.3",
                "S0",
                "table",
                new BundleManifest.Languages(source, target),
                new BundleManifest.Vocabulary(TinyTokenizer.SIZE, TinyTokenizer.SIZE, "00"),
                TinyTokenizer.SPECIAL,
                new BundleManifest.Limits(maxSourceTokens, 30, 2, 10),
                new BundleManifest.Decoding(1, 1.0, 0),
                new BundleManifest.Attention(true, 3, List.of(0, 2), 1, null),
                Map.of(Bundle.MODEL, new BundleManifest.FileIdentity("cafe", 4)),
                null,
                Map.of());
    }

    /** The same for a model with 8-bit products. */
    public static BundleManifest withEightBits(BundleManifest manifest) {
        return new BundleManifest(
                manifest.formatVersion(),
                manifest.name(),
                manifest.version(),
                manifest.architecture(),
                manifest.architectureName(),
                manifest.languages(),
                manifest.vocabulary(),
                manifest.specialIds(),
                manifest.limits(),
                manifest.decoding(),
                manifest.attention(),
                manifest.files(),
                new BundleManifest.ModelSection("int8"),
                manifest.scores());
    }

    /** The same for a model that publishes no attention. */
    public static BundleManifest withoutAttention(BundleManifest manifest) {
        return new BundleManifest(
                manifest.formatVersion(),
                manifest.name(),
                manifest.version(),
                manifest.architecture(),
                manifest.architectureName(),
                manifest.languages(),
                manifest.vocabulary(),
                manifest.specialIds(),
                manifest.limits(),
                manifest.decoding(),
                new BundleManifest.Attention(false, 0, List.of(), 0, null),
                manifest.files(),
                manifest.model(),
                manifest.scores());
    }

    /** The texts of every run so far, failed ones too. */
    public List<List<String>> runs() {
        return List.copyOf(runs);
    }

    public boolean closed() {
        return closed;
    }

    @Override
    public BundleManifest manifest() {
        return manifest;
    }

    @Override
    public List<List<Hypothesis>> decode(PaddedBatch batch, List<long[]> prefixes, DecodingOptions options) {
        List<String> texts = new ArrayList<>();
        for (int row = 0; row < batch.rows(); row++) {
            texts.add(batch.sentence(row).text());
        }
        runs.add(texts);
        started.countDown();
        try {
            gate.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ModelException("interrupted", e);
        }
        List<List<Hypothesis>> found = new ArrayList<>();
        for (int row = 0; row < batch.rows(); row++) {
            if (poison.test(texts.get(row))) {
                Throwable thrown = failure.apply(texts.get(row));
                if (thrown instanceof Error error) {
                    throw error;
                }
                throw (RuntimeException) thrown;
            }
            found.add(answers.apply(batch.sentence(row)).stream()
                    .map(hypothesis -> cut(hypothesis, options.maxTargetTokens()))
                    .toList());
        }
        return found;
    }

    @Override
    public void close() {
        closed = true;
    }
}
