package io.dragoman.tokenize;

import java.util.Arrays;

/** The whitespace-separated words of a text, and which of them a token belongs to. */
public final class Words {
    /** One past the last UTF-16 unit of each word. */
    private final int[] ends;

    private Words(int[] ends) {
        this.ends = ends;
    }

    public static Words of(String text) {
        int[] ends = new int[(text.length() + 1) / 2];
        int count = 0;
        boolean inWord = false;
        for (int i = 0; i <= text.length(); i++) {
            boolean wasInWord = inWord;
            inWord = i < text.length() && !isSpace(text.charAt(i));
            if (wasInWord && !inWord) {
                ends[count++] = i;
            }
        }
        return new Words(Arrays.copyOf(ends, count));
    }

    public int count() {
        return ends.length;
    }

    /**
     * The word a token belongs to: the one its first character is in, or the next one when that is a space; the last
     * one when no word follows.
     */
    public int wordOf(TokenSpan token) {
        int found = Arrays.binarySearch(ends, token.start() + 1);
        return Math.max(0, Math.min(found >= 0 ? found : -found - 1, ends.length - 1));
    }

    /** Where the space at the end of a text begins; 0 when it is all space. */
    static int trimmedEnd(String text) {
        int end = text.length();
        while (end > 0 && isSpace(text.charAt(end - 1))) {
            end--;
        }
        return end;
    }

    /** Every Unicode space and separating control character: what Python's {@code str.split()} splits at. */
    static boolean isSpace(char c) {
        if (c < 0x80) { // nearly all there are, and at every character of every text
            return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
        }
        return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085';
    }
}
