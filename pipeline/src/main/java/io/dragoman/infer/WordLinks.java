package io.dragoman.infer;

import io.dragoman.tokenize.TokenSpan;
import io.dragoman.tokenize.TokenizedText;
import io.dragoman.tokenize.Words;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Hard links read off a matrix as a bundle's {@link LinkChoice} says, over tokens or over words; by target position, then
 * by source position. The row of the target's end takes no part.
 *
 * <p>Letters: T target tokens, S source tokens, without their ends; W source words, V target words. Sums are in float32,
 * over target tokens first, as where the choice was scored.
 */
public final class WordLinks {
    private WordLinks() {}

    /** Target {@code target} comes from source {@code source}; positions are 0-based. */
    public record Link(int source, int target) {
        /** Pharaoh format, {@code source-target}. */
        @Override
        public String toString() {
            return source + "-" + target;
        }
    }

    /** Every token is a word of its own, so that there is nothing to merge; a list of the caller's own. */
    public static List<Link> overTokens(
            TokenizedText source, TokenizedText target, AlignmentMatrix matrix, LinkChoice choice) {
        int[] sources = everyOne(source.wordTokens().size());
        int[] targets = everyOne(target.wordTokens().size());
        if (sources.length == 0 || targets.length == 0) {
            return new ArrayList<>();
        }
        int columns = columnWords(matrix, sources, choice).length;
        float[][] weights = new float[targets.length][];
        Arrays.setAll(weights, row -> tokenRow(matrix, row, columns, choice));
        return chosen(weights, sources, targets, choice);
    }

    private static int[] everyOne(int tokens) {
        int[] words = new int[tokens];
        Arrays.setAll(words, token -> token);
        return words;
    }

    /** Target words without a token get no link. */
    public static List<Link> overWords(
            TokenizedText source, TokenizedText target, AlignmentMatrix matrix, LinkChoice choice) {
        return overWords(
                new Part(source, 0, Words.of(source.text())),
                new Part(target, 0, Words.of(target.text())),
                matrix,
                choice);
    }

    /**
     * A piece of a text whose words are counted in the whole.
     *
     * @param start where the piece begins in the text
     * @param words of the text
     */
    public record Part(TokenizedText piece, int start, Words words) {
        /** The first of the text's words that a token of the piece belongs to; 0 for none. */
        private int first() {
            return start == 0 || piece.wordTokens().isEmpty()
                    ? 0
                    : wordOf(piece.wordTokens().get(0));
        }

        private int wordOf(TokenSpan token) {
            return words.wordOf(new TokenSpan(token.piece(), start + token.start(), start + token.end()));
        }

        /** The word of each token, counted from {@code first}, the end left out. */
        private int[] wordsFrom(int first) {
            List<TokenSpan> tokens = piece.wordTokens();
            int[] found = new int[tokens.size()];
            Arrays.setAll(found, i -> wordOf(tokens.get(i)) - first);
            return found;
        }
    }

    /** The same for a pair of pieces. */
    public static List<Link> overWords(Part source, Part target, AlignmentMatrix matrix, LinkChoice choice) {
        if (source.words().count() == 0 || target.words().count() == 0) {
            return List.of();
        }
        int firstSource = source.first();
        int firstTarget = target.first();
        List<Link> links = links(matrix, source.wordsFrom(firstSource), target.wordsFrom(firstTarget), choice);
        if (firstSource != 0 || firstTarget != 0) {
            links.replaceAll(link -> new Link(link.source() + firstSource, link.target() + firstTarget));
        }
        return links;
    }

    /**
     * @param sourceWords the word of each source token [S]; {@code targetWords} likewise [T]
     * @return a list of the caller's own
     */
    private static List<Link> links(AlignmentMatrix matrix, int[] sourceWords, int[] targetWords, LinkChoice choice) {
        if (sourceWords.length == 0 || targetWords.length == 0) {
            return new ArrayList<>();
        }
        float[][] weights = merged(matrix, sourceWords, targetWords, choice);
        return chosen(weights, distinct(sourceWords), distinct(targetWords), choice);
    }

    /**
     * @param weights over words [V, W], or [V, W + 1] when the end is kept
     * @param sources the words that have tokens, ascending; {@code targets} likewise
     */
    private static List<Link> chosen(float[][] weights, int[] sources, int[] targets, LinkChoice choice) {
        int words = sources[sources.length - 1] + 1;
        if (choice.joined() != null) {
            return JoinedLinks.of(weights, sources, targets, choice);
        }
        List<Link> links = new ArrayList<>();
        Float threshold = choice.threshold();
        for (int target : targets) {
            float[] row = weights[target];
            int best = heaviest(row);
            if (best == words) {
                continue; // the end
            }
            if (threshold == null) {
                links.add(new Link(best, target));
                continue;
            }
            for (int word = 0; word < words; word++) {
                if (row[word] >= threshold) {
                    links.add(new Link(word, target));
                }
            }
        }
        return links;
    }

    /** Each word once, ascending. */
    private static int[] distinct(int[] words) {
        boolean[] present = new boolean[highest(words) + 1];
        int count = 0;
        for (int word : words) {
            count += present[word] ? 0 : 1;
            present[word] = true;
        }
        int[] found = new int[count];
        for (int word = 0, next = 0; next < count; word++) {
            if (present[word]) {
                found[next++] = word;
            }
        }
        return found;
    }

    /** The column with the largest weight, the first on a tie. */
    static int heaviest(float[] row) {
        int best = 0;
        for (int column = 1; column < row.length; column++) {
            best = row[column] > row[best] ? column : best;
        }
        return best;
    }

    /** Weights over words [V, W], or [V, W + 1] when the end is kept. */
    private static float[][] merged(AlignmentMatrix matrix, int[] sourceWords, int[] targetWords, LinkChoice choice) {
        int targets = highest(targetWords) + 1;
        int[] columnWords = columnWords(matrix, sourceWords, choice);
        int words = highest(columnWords) + 1;
        if (choice.merge() == LinkChoice.Merge.MAX) {
            float[][] largest = new float[targets][];
            for (int row = 0; row < targetWords.length; row++) {
                float[] weights = overColumns(tokenRow(matrix, row, columnWords.length, choice), columnWords, words);
                float[] before = largest[targetWords[row]];
                for (int word = 0; before != null && word < weights.length; word++) {
                    weights[word] = Math.max(weights[word], before[word]);
                }
                largest[targetWords[row]] = weights;
            }
            return largest;
        }
        float[][] sums = new float[targets][columnWords.length];
        int[] counts = new int[targets];
        for (int row = 0; row < targetWords.length; row++) {
            float[] weights = tokenRow(matrix, row, columnWords.length, choice);
            float[] sum = sums[targetWords[row]];
            counts[targetWords[row]]++;
            for (int column = 0; column < weights.length; column++) {
                sum[column] += weights[column];
            }
        }
        float[][] merged = new float[targets][];
        for (int target = 0; target < targets; target++) {
            float[] row = overColumns(sums[target], columnWords, words);
            for (int word = 0; word < words; word++) {
                float mean = row[word] / Math.max(1, counts[target]);
                row[word] = choice.merge() == LinkChoice.Merge.SUM ? mean * counts[target] : mean;
            }
            merged[target] = row;
        }
        return merged;
    }

    /** The word of each column that takes part [S], or [S + 1] with the end, a word after the last, when it is kept. */
    private static int[] columnWords(AlignmentMatrix matrix, int[] sourceWords, LinkChoice choice) {
        if (choice.end() != LinkChoice.End.KEPT || matrix.columns() == sourceWords.length) {
            return sourceWords;
        }
        int[] words = Arrays.copyOf(sourceWords, sourceWords.length + 1);
        words[sourceWords.length] = highest(sourceWords) + 1;
        return words;
    }

    private static float[] tokenRow(AlignmentMatrix matrix, int row, int columns, LinkChoice choice) {
        float[] weights = new float[columns];
        matrix.copyRow(row, weights);
        if (choice.end() == LinkChoice.End.RENORMALISED) {
            float sum = 0;
            for (float weight : weights) {
                sum += weight;
            }
            for (int column = 0; column < columns; column++) {
                weights[column] /= Math.max(sum, Float.MIN_NORMAL);
            }
        }
        return weights;
    }

    /** Summed over the columns of each of so many words. */
    private static float[] overColumns(float[] columns, int[] columnWords, int words) {
        float[] summed = new float[words];
        for (int column = 0; column < columns.length; column++) {
            summed[columnWords[column]] += columns[column];
        }
        return summed;
    }

    /** Of at least one; a stream of each row's would take longer than all else here. */
    private static int highest(int[] words) {
        int highest = words[0];
        for (int word : words) {
            highest = Math.max(highest, word);
        }
        return highest;
    }
}
