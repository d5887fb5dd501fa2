package io.dragoman.infer;

import io.dragoman.batch.PaddedBatch;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TokenizedText;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * What must hold of every bundle, measured on its golden sentences: they come out as they did at export; alone or padded
 * in one batch gives the same; the weights of the search are those of a forced pass over its result; rows sum to 1.
 */
public final class BundleVerification {
    /** Largest difference between two weights that should be the same. */
    public static final double TOLERANCE = 1e-4;

    private static final long[] FREE = {};

    private BundleVerification() {}

    /** One property; {@code detail} is the figure measured, or what differs. */
    public record Check(String name, boolean holds, String detail) {}

    /** Runs every check; the model and tokenizer stay the caller's. */
    public static List<Check> run(Bundle bundle, TranslationModel model, SubwordTokenizer tokenizer)
            throws IOException {
        List<GoldenFile.Example> golden = GoldenFile.read(bundle.folder().resolve(Bundle.GOLDEN));
        List<TokenizedText> sources = golden.stream()
                .map(example -> tokenizer.tokenize(example.source()))
                .toList();
        DecodingOptions options = bundle.manifest().defaultOptions();
        List<Hypothesis> single = new ArrayList<>();
        for (TokenizedText source : sources) {
            single.add(decode(model, List.of(source), List.of(FREE), options).get(0));
        }
        List<Hypothesis> together = decode(model, sources, Collections.nCopies(sources.size(), FREE), options);
        List<Hypothesis> forced = decode(
                model,
                sources,
                single.stream().map(Hypothesis::ids).toList(),
                new DecodingOptions(1, options.maxTargetTokens(), 0));
        return List.of(
                golden(golden, sources, single, tokenizer),
                same("padded batch = single sentence", single, together),
                same("attention of the search = of a forced pass", single, forced),
                rowsSumToOne(single, together));
    }

    private static List<Hypothesis> decode(
            TranslationModel model, List<TokenizedText> sources, List<long[]> prefixes, DecodingOptions options) {
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
            SubwordTokenizer tokenizer) {
        double worst = 0;
        for (int i = 0; i < golden.size(); i++) {
            GoldenFile.Example example = golden.get(i);
            TokenizedText target = tokenizer.detokenize(found.get(i).ids());
            if (!target.text().equals(example.translation())) {
                return new Check("golden sentences", false, "sentence " + (i + 1) + " gives another translation");
            }
            worst = Math.max(worst, Math.abs(found.get(i).score() - example.score()));
            AlignmentMatrix matrix = found.get(i).attention().orElse(null);
            if (matrix == null) {
                continue;
            }
            String links = WordLinks.overWords(sources.get(i), target, matrix).stream()
                    .map(WordLinks.Link::toString)
                    .collect(Collectors.joining(" "));
            if (!links.equals(example.links())) {
                return new Check("golden sentences", false, "sentence " + (i + 1) + " gives other links");
            }
            worst = Math.max(worst, difference(matrix, example.weights()));
        }
        return measured("golden sentences", golden.size() + " sentences, ", worst);
    }

    private static double difference(AlignmentMatrix matrix, List<float[]> weights) {
        if (weights.size() != matrix.rows() || weights.get(0).length != matrix.columns()) {
            return Double.POSITIVE_INFINITY;
        }
        double worst = 0;
        for (int row = 0; row < matrix.rows(); row++) {
            for (int column = 0; column < matrix.columns(); column++) {
                worst = Math.max(worst, Math.abs(matrix.at(row, column) - weights.get(row)[column]));
            }
        }
        return worst;
    }

    private static Check same(String name, List<Hypothesis> one, List<Hypothesis> other) {
        double worst = 0;
        for (int i = 0; i < one.size(); i++) {
            if (!Arrays.equals(one.get(i).ids(), other.get(i).ids())) {
                return new Check(name, false, "sentence " + (i + 1) + " gives other tokens");
            }
            AlignmentMatrix a = one.get(i).attention().orElse(null);
            AlignmentMatrix b = other.get(i).attention().orElse(null);
            for (int row = 0; a != null && b != null && row < a.rows(); row++) {
                for (int column = 0; column < a.columns(); column++) {
                    worst = Math.max(worst, Math.abs(a.at(row, column) - b.at(row, column)));
                }
            }
        }
        return measured(name, "", worst);
    }

    /** Padding columns are cut off when hypotheses are made, so a row that sums to 1 had none of its weight there. */
    private static Check rowsSumToOne(List<Hypothesis> one, List<Hypothesis> other) {
        double worst = 0;
        for (List<Hypothesis> found : List.of(one, other)) {
            for (Hypothesis hypothesis : found) {
                AlignmentMatrix matrix = hypothesis.attention().orElse(null);
                for (int row = 0; matrix != null && row < matrix.rows(); row++) {
                    double sum = 0;
                    for (int column = 0; column < matrix.columns(); column++) {
                        sum += matrix.at(row, column);
                    }
                    worst = Math.max(worst, Math.abs(sum - 1));
                }
            }
        }
        return measured("rows sum to 1, nothing on padding", "", worst);
    }

    private static Check measured(String name, String prefix, double worst) {
        return new Check(
                name,
                worst <= TOLERANCE,
                prefix + String.format(Locale.ROOT, "largest difference %.1e (at most %.0e)", worst, TOLERANCE));
    }
}
