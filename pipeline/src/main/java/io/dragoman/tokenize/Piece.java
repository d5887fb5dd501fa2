package io.dragoman.tokenize;

/**
 * A part of a text that the model takes whole.
 *
 * @param start its first UTF-16 unit in the text; {@code end} is one past its last one
 * @param cut what it ends at
 * @param tokens of the part alone: spans count from {@code start}
 */
public record Piece(int start, int end, Cut cut, TokenizedText tokens) {
    public Piece {
        if (start < 0 || tokens.text().length() != end - start) {
            throw new IllegalArgumentException("a piece should be as long as its text ("
                    + tokens.text().length() + "): was " + start + ".." + end);
        }
    }
}
