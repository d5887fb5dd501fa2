package io.dragoman.tokenize;

import java.util.ArrayList;
import java.util.List;

/** Tokenized texts for tests that need no tokenizer. */
public final class Texts {
    private static final long END = 2;

    private Texts() {}

    /**
     * One token for each piece, {@code |} standing between pieces of a word, and the end of the sentence: {@code le
     * cha|t} is the text {@code le chat} in three tokens and an end. Ids count from 10.
     */
    public static TokenizedText pieces(String marked) {
        String text = marked.replace("|", "");
        List<TokenSpan> tokens = new ArrayList<>();
        int at = 0;
        for (String word : marked.split(" ")) {
            String mark = "\u2581";
            for (String piece : word.split("\\|")) {
                tokens.add(new TokenSpan(mark + piece, at, at + piece.length()));
                at += piece.length();
                mark = "";
            }
            at++;
        }
        tokens.add(new TokenSpan("</s>", text.length(), text.length()));
        return new TokenizedText(text, ids(tokens.size()), tokens, true);
    }

    /** A text of {@code length} ids, the end included, whose words are all {@code name}. */
    public static TokenizedText ofLength(String name, int length) {
        return pieces(length == 1 ? "" : String.join(" ", java.util.Collections.nCopies(length - 1, name)), length);
    }

    private static TokenizedText pieces(String text, int length) {
        return length == 1
                ? new TokenizedText("", new long[] {END}, List.of(new TokenSpan("</s>", 0, 0)), true)
                : pieces(text);
    }

    private static long[] ids(int length) {
        long[] ids = new long[length];
        for (int i = 0; i < length; i++) {
            ids[i] = i == length - 1 ? END : 10 + i;
        }
        return ids;
    }
}
