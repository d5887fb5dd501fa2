package io.dragoman.tokenize;

import java.util.Objects;

/**
 * One subword and where it stands in its text.
 *
 * @param piece the vocabulary entry, a word-initial space written U+2581
 * @param start first UTF-16 unit in the text, the space before the word not included
 * @param end one past the last UTF-16 unit; equal to {@code start} when the piece covers no visible character
 */
public record TokenSpan(String piece, int start, int end) {
    public TokenSpan {
        Objects.requireNonNull(piece, "piece");
        if (start < 0 || end < start) {
            throw new IllegalArgumentException("a span should have 0 <= start <= end: was " + start + ".." + end);
        }
    }
}
