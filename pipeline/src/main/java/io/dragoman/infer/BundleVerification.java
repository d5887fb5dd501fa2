package io.dragoman.infer;

import io.dragoman.batch.PaddedBatch;
import io.dragoman.tokenize.TokenizedText;
import io.dragoman.tokenize.TokenizerPair;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.DoubleSummaryStatistics;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * What must hold of every bundle: its files and graph are what the manifest says; and on its golden sentences, they come
 * out as they did at export; alone or padded in one batch gives the same; the weights of the search are those of a forced
 * pass over its result; the loop inside the graph gives what its steps give one by one; rows sum to 1.
 */
public final class BundleVerification {
    /** Largest difference between two weights that should be the same. */
    public static final double TOLERANCE = 1e-4;

    /**
     * Mean difference of scores, and of each row's largest of weights, between two programs that compute with 8-bit
     * products: the last bit of a float32 sum may decide how an activation is rounded, and from there on the rounding is
     * another draw.
     */
    private static final double ROUNDING = 0.05;
    /** And the share of the golden sentences that may then be translated otherwise. */
    private static final double OTHERS = 0.25;

    private static final String GOLDEN = "golden sentences (ONNX = PyTorch)"; // PyTorch wrote the file, at export
    private static final String PADDED = "padded batch = single sentence";
    private static final String FORCED = "attention of the search = of a forced pass";
    private static final String LOOP = "Loop = step-driven";
    private static final String ROWS = "rows sum to 1, nothing on padding";
    private static final long[] FREE = {};

    private BundleVerification() {}

    /**
     * One property.
     *
     * @param detail the figure measured, if there is one
     * @param faults why it does not hold; empty when it does
     */
    public record Check(String name, String detail, List<String> faults) {
        public Check {
            faults = List.copyOf(faults);
        }

        public boolean holds() {
            return faults.isEmpty();
        }

        @Override
        public String toString() {
            if (!holds()) {
                return "FAIL  " + String.join("; ", faults);
            }
            return "ok    " + name + (detail.isEmpty() ? "" : ": " + detail);
        }
    }

    /** Runs every check on a folder; those of the model only when its files and graph are sound. */
    public static List<Check> of(Path folder) {
        long start = System.nanoTime();
        Bundle.Findings findings = Bundle.check(folder);
        List<Check> checks = new ArrayList<>();
        checks.add(new Check(
                "files, sizes, hashes, vocabularies, special ids", "checked in " + since(start), findings.faults()));
        BundleManifest manifest = findings.manifest();
        if (manifest == null || findings.faults().stream().anyMatch(fault -> fault.startsWith(Bundle.MODEL))) {
            return checks; // whatever else is found in such a graph says nothing of the bundle's
        }
        Bundle bundle = new Bundle(folder, manifest);
        String graph = "graph and its metadata";
        OnnxTranslationModel.Placement everyCore =
                new OnnxTranslationModel.Placement(null, Runtime.getRuntime().availableProcessors(), 1);
        long loading = System.nanoTime();
        try (TranslationModel model = OnnxTranslationModel.open(bundle, everyCore)) {
            checks.add(new Check(graph, "loaded in " + since(loading), List.of()));
            if (findings.faults().isEmpty()) {
                try (TokenizerPair tokenizers = bundle.openTokenizers()) {
                    checks.addAll(run(bundle, model, tokenizers));
                }
            }
        } catch (BundleException e) {
            checks.add(new Check(graph, "", e.faults()));
        } catch (IOException e) {
            checks.add(new Check("files", "", List.of(String.valueOf(e.getMessage()))));
        }
        return checks;
    }

    private static String since(long nanos) {
        return (System.nanoTime() - nanos) / 1_000_000 + " ms";
    }

    /** Runs the checks of the model; model and tokenizers stay the caller's. */
    static List<Check> run(Bundle bundle, TranslationModel model, TokenizerPair tokenizers) throws IOException {
        List<GoldenFile.Example> golden = GoldenFile.read(bundle.folder().resolve(Bundle.GOLDEN));
        List<TokenizedText> sources = golden.stream()
                .map(example -> tokenizers.source().tokenize(example.source()))
                .toList();
        DecodingOptions options = bundle.manifest().defaultOptions();
        DecodingOptions greedy = new DecodingOptions(1, options.maxTargetTokens(), 0);
        List<long[]> free = Collections.nCopies(sources.size(), FREE);
        List<Hypothesis> single = new ArrayList<>();
        List<Hypothesis> together = new ArrayList<>();
        Bounds bounds = bundle.manifest().half() ? Bounds.HALF : Bounds.EXACT;
        List<Check> checks = new ArrayList<>();
        checks.add(unlessFailing(GOLDEN, () -> {
            for (TokenizedText source : sources) {
                single.addAll(decode(model, List.of(source), List.of(FREE), options));
            }
            return golden(golden, sources, single, tokenizers, model.manifest());
        }));
        checks.add(unlessFailing(PADDED, () -> {
            together.addAll(decode(model, sources, free, options));
            return same(PADDED, single, together, bounds);
        }));
        checks.add(unlessFailing(FORCED, () -> {
            List<long[]> targets = single.stream().map(Hypothesis::ids).toList();
            return same(FORCED, single, decode(model, sources.subList(0, targets.size()), targets, greedy), bounds);
        }));
        checks.add(unlessFailing(LOOP, () -> loop(model, sources, decode(model, sources, free, greedy), bounds)));
        checks.add(unlessFailing(ROWS, () -> rowsSumToOne(single, together)));
        return checks;
    }

    private static Check unlessFailing(String name, Supplier<Check> check) {
        try {
            return check.get();
        } catch (ModelException e) {
            return failing(name, List.of("the model failed: " + e.getMessage()));
        }
    }

    private static List<Hypothesis> decode(
            TranslationModel model, List<TokenizedText> sources, List<long[]> prefixes, DecodingOptions options) {
        if (sources.isEmpty()) {
            throw new ModelException("there is no translation to compare with");
        }
        PaddedBatch batch =
                new PaddedBatch(sources, model.manifest().specialIds().pad());
        return model.decode(batch, prefixes, options).stream()
                .map(hypotheses -> hypotheses.get(0))
                .toList();
    }

    private static Check golden(
            List<GoldenFile.Example> golden,
            List<TokenizedText> sources,
            List<Hypothesis> found,
            TokenizerPair tokenizers,
            BundleManifest manifest) {
        DoubleSummaryStatistics scores = new DoubleSummaryStatistics();
        DoubleSummaryStatistics rows = new DoubleSummaryStatistics();
        List<Integer> otherTexts = new ArrayList<>();
        List<Integer> otherLinks = new ArrayList<>();
        for (int i = 0; i < golden.size(); i++) {
            GoldenFile.Example example = golden.get(i);
            TokenizedText target = tokenizers.target().detokenize(found.get(i).ids());
            if (!target.text().equals(example.translation())) {
                otherTexts.add(i + 1);
                continue;
            }
            scores.accept(Math.abs(found.get(i).score() - example.score()));
            AlignmentMatrix matrix = found.get(i).attention().orElse(null);
            if (matrix == null) {
                continue;
            }
            differences(matrix, example.weights()).forEach(rows);
            // few bits are rounded otherwise here than where the file was written: its links are those of its own
            // weights
            AlignmentMatrix read = manifest.eightBits() || manifest.half() ? alike(matrix, example.weights()) : matrix;
            LinkChoice choice = manifest.attention().links();
            String links = WordLinks.overWords(sources.get(i), target, read, choice).stream()
                    .map(WordLinks.Link::toString)
                    .collect(Collectors.joining(" "));
            if (!links.equals(example.links())) {
                otherLinks.add(i + 1);
            }
        }
        double worst = Math.max(0, Math.max(scores.getMax(), rows.getMax()));
        List<String> faults = new ArrayList<>();
        if (manifest.eightBits() || manifest.half()) {
            String others = golden.size() + " sentences, " + otherTexts.size() + " of them otherwise, ";
            addIfAny(
                    faults, "another translation", otherTexts.size() > OTHERS * golden.size() ? otherTexts : List.of());
            addIfAny(faults, "other links", otherLinks);
            double mean = Math.max(scores.getAverage(), rows.getAverage());
            String figure = others + String.format(Locale.ROOT, "mean difference %.1e (at most %.0e)", mean, ROUNDING);
            return measured(GOLDEN, figure, mean <= ROUNDING, faults);
        }
        addIfAny(faults, "another translation", otherTexts);
        addIfAny(faults, "other links", otherLinks);
        return measured(GOLDEN, golden.size() + " sentences, ", worst, faults);
    }

    private static void addIfAny(List<String> faults, String what, List<Integer> sentences) {
        if (!sentences.isEmpty()) {
            faults.add(what + " in sentences " + sentences);
        }
    }

    /** The file's weights where they are as many as the matrix's, which is given otherwise. */
    private static AlignmentMatrix alike(AlignmentMatrix matrix, List<float[]> weights) {
        if (weights.size() != matrix.rows() || weights.stream().anyMatch(row -> row.length != matrix.columns())) {
            return matrix;
        }
        float[] all = new float[matrix.rows() * matrix.columns()];
        for (int row = 0; row < matrix.rows(); row++) {
            System.arraycopy(weights.get(row), 0, all, row * matrix.columns(), matrix.columns());
        }
        return new AlignmentMatrix(matrix.rows(), matrix.columns(), all);
    }

    /** Each row's largest difference; infinite when the two are not of one size. */
    private static DoubleStream differences(AlignmentMatrix matrix, List<float[]> weights) {
        if (weights.size() != matrix.rows() || weights.stream().anyMatch(row -> row.length != matrix.columns())) {
            return DoubleStream.of(Double.POSITIVE_INFINITY);
        }
        return IntStream.range(0, matrix.rows()).mapToDouble(row -> IntStream.range(0, matrix.columns())
                .mapToDouble(column -> Math.abs(matrix.at(row, column) - weights.get(row)[column]))
                .max()
                .orElse(0));
    }

    private static Check same(String name, List<Hypothesis> one, List<Hypothesis> other, Bounds bounds) {
        double worst = 0;
        List<Integer> otherTokens = new ArrayList<>();
        for (int i = 0; i < Math.min(one.size(), other.size()); i++) {
            if (Arrays.equals(one.get(i).ids(), other.get(i).ids())) {
                worst = Math.max(
                        worst, difference(one.get(i), other.get(i), one.get(i).length()));
            } else {
                otherTokens.add(i + 1);
            }
        }
        return bounds.check(name, worst, otherTokens, one.size());
    }

    /** Over the first {@code rows} rows; 0 without attention. */
    private static double difference(Hypothesis one, Hypothesis other, int rows) {
        AlignmentMatrix a = one.attention().orElse(null);
        AlignmentMatrix b = other.attention().orElse(null);
        double worst = 0;
        for (int row = 0; a != null && b != null && row < rows; row++) {
            for (int column = 0; column < a.columns(); column++) {
                worst = Math.max(worst, Math.abs(a.at(row, column) - b.at(row, column)));
            }
        }
        return worst;
    }

    /**
     * Each greedy result against one run for each token, the tokens so far as the prefix. With shift 1 the newest token's
     * row is not compared: the step that reads the token is still to come.
     */
    private static Check loop(
            TranslationModel model, List<TokenizedText> sources, List<Hypothesis> greedy, Bounds bounds) {
        int shift = model.manifest().attention().shift();
        double worst = 0;
        List<Integer> otherTokens = new ArrayList<>();
        List<long[]> driven = new ArrayList<>(Collections.nCopies(sources.size(), FREE));
        for (int step = 0; ; step++) {
            int done = step;
            List<Integer> going = IntStream.range(0, sources.size())
                    .filter(i -> driven.get(i).length == done && greedy.get(i).length() > done)
                    .boxed()
                    .toList();
            if (going.isEmpty()) {
                break;
            }
            List<Hypothesis> stepped = decode(
                    model,
                    going.stream().map(sources::get).toList(),
                    going.stream().map(driven::get).toList(),
                    new DecodingOptions(1, step + 2, 0)); // the last step allowed may be made to end
            for (int row = 0; row < going.size(); row++) {
                int sentence = going.get(row);
                Hypothesis whole = greedy.get(sentence);
                Hypothesis so = stepped.get(row);
                long[] soFar = Arrays.copyOf(so.ids(), step + 1);
                if (Arrays.equals(soFar, Arrays.copyOf(whole.ids(), step + 1))) {
                    driven.set(sentence, soFar);
                    worst = Math.max(worst, difference(whole, so, step + 1 - shift));
                } else {
                    otherTokens.add(sentence + 1); // and it goes no further
                }
            }
        }
        return bounds.check(LOOP, worst, otherTokens.stream().sorted().toList(), sources.size());
    }

    /** Padding columns are cut off when hypotheses are made, so a row that sums to 1 had none of its weight there. */
    private static Check rowsSumToOne(List<Hypothesis> one, List<Hypothesis> other) {
        double worst = 0;
        int matrices = 0;
        for (List<Hypothesis> found : List.of(one, other)) {
            for (Hypothesis hypothesis : found) {
                AlignmentMatrix matrix = hypothesis.attention().orElse(null);
                matrices += matrix == null ? 0 : 1;
                for (int row = 0; matrix != null && row < matrix.rows(); row++) {
                    double sum = 0;
                    for (int column = 0; column < matrix.columns(); column++) {
                        sum += matrix.at(row, column);
                    }
                    worst = Math.max(worst, Math.abs(sum - 1));
                }
            }
        }
        return matrices == 0
                ? new Check(ROWS, "no attention is published", List.of())
                : measured(ROWS, "", worst, List.of());
    }

    /**
     * How far two runs of one graph may be apart.
     *
     * @param largest of weights
     * @param others share of the sentences with other tokens
     */
    private record Bounds(double largest, double others) {
        static final Bounds EXACT = new Bounds(TOLERANCE, 0);
        /** Sums in 16 bits depend on how a product is split up. */
        static final Bounds HALF = new Bounds(ROUNDING, OTHERS);

        Check check(String name, double worst, List<Integer> otherTokens, int sentences) {
            List<String> faults = new ArrayList<>();
            addIfAny(faults, "other tokens", otherTokens.size() > others * sentences ? otherTokens : List.of());
            String few = others == 0 ? "" : otherTokens.size() + " sentences otherwise, ";
            String figure = few + String.format(Locale.ROOT, "largest difference %.1e (at most %.0e)", worst, largest);
            return measured(name, figure, worst <= largest, faults);
        }
    }

    private static Check failing(String name, List<String> faults) {
        return new Check(
                name, "", faults.stream().map(fault -> name + ": " + fault).toList());
    }

    private static Check measured(String name, String prefix, double worst, List<String> faults) {
        String figure = prefix + String.format(Locale.ROOT, "largest difference %.1e (at most %.0e)", worst, TOLERANCE);
        return measured(name, figure, worst <= TOLERANCE, faults);
    }

    private static Check measured(String name, String figure, boolean near, List<String> faults) {
        List<String> all = new ArrayList<>(faults);
        if (!near) {
            all.add(figure);
        }
        return all.isEmpty() ? new Check(name, figure, List.of()) : failing(name, all);
    }
}
