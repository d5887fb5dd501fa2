package io.dragoman.tokenize;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The whitespace-separated words of a text, and which of them a token belongs to. */
public final class Words {
    private final int[] starts;

    private Words(int[] starts) {
        this.starts = starts;
    }

    public static Words of(String text) {
        List<Integer> starts = new ArrayList<>();
        boolean inside = false;
        for (int i = 0; i < text.length(); i++) {
            boolean space = isSpace(text.charAt(i));
            if (!space && !inside) {
                starts.add(i);
            }
            inside = !space;
        }
        return new Words(starts.stream().mapToInt(Integer::intValue).toArray());
    }

    public int count() {
        return starts.length;
    }

    /**
     * The word a token belongs to: the last one that starts at or before the token's first character. A token before
     * the first word belongs to the first.
     */
    public int wordOf(TokenSpan token) {
        int found = Arrays.binarySearch(starts, token.start());
        return Math.max(0, found >= 0 ? found : -found - 2);
    }

    /** Every Unicode space and separating control character: what Python's {@code str.split()} splits at. */
    static boolean isSpace(char c) {
        return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085';
    }
}
