package io.dragoman.infer;

import io.dragoman.tokenize.TokenSpan;
import io.dragoman.tokenize.TokenizedText;
import io.dragoman.tokenize.Words;
import java.util.ArrayList;
import java.util.List;

/**
 * Hard links read off a matrix: for each target token or word the source token or word with the largest weight, the
 * first on a tie; the end of sentence takes no part on either side.
 *
 * <p>Over words, the weight of a pair is the mean over the target word's tokens of the sum over the source word's tokens.
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

    public static List<Link> overTokens(TokenizedText source, TokenizedText target, AlignmentMatrix matrix) {
        int columns = source.wordTokens().size();
        List<Link> links = new ArrayList<>();
        for (int row = 0; row < target.wordTokens().size() && columns > 0; row++) {
            int best = 0;
            for (int column = 1; column < columns; column++) {
                best = matrix.at(row, column) > matrix.at(row, best) ? column : best;
            }
            links.add(new Link(best, row));
        }
        return links;
    }

    public static List<Link> overWords(TokenizedText source, TokenizedText target, AlignmentMatrix matrix) {
        Words sourceWords = Words.of(source.text());
        Words targetWords = Words.of(target.text());
        List<TokenSpan> columns = source.wordTokens();
        List<TokenSpan> rows = target.wordTokens();
        List<Link> links = new ArrayList<>();
        if (sourceWords.count() == 0 || columns.isEmpty()) {
            return links;
        }
        double[][] sums = new double[targetWords.count()][sourceWords.count()];
        boolean[] spoken = new boolean[targetWords.count()];
        for (int row = 0; row < rows.size() && targetWords.count() > 0; row++) {
            int targetWord = targetWords.wordOf(rows.get(row));
            spoken[targetWord] = true;
            for (int column = 0; column < columns.size(); column++) {
                sums[targetWord][sourceWords.wordOf(columns.get(column))] += matrix.at(row, column);
            }
        }
        for (int targetWord = 0; targetWord < sums.length; targetWord++) {
            int best = 0;
            for (int sourceWord = 1; sourceWord < sourceWords.count(); sourceWord++) {
                best = sums[targetWord][sourceWord] > sums[targetWord][best] ? sourceWord : best;
            }
            if (spoken[targetWord]) {
                links.add(new Link(best, targetWord));
            }
        }
        return links;
    }
}
