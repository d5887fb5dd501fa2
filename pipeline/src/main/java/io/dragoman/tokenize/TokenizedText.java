package io.dragoman.tokenize;

import java.util.List;

/** A text with its subwords; the last one is the end of the sentence, with an empty span, when the text has an end. */
public final class TokenizedText {
    private final String text;
    private final long[] ids;
    private final List<TokenSpan> tokens;
    private final boolean ended;

    /** @param ended whether the last id is the end of the sentence */
    public TokenizedText(String text, long[] ids, List<TokenSpan> tokens, boolean ended) {
        if (ids.length != tokens.size()) {
            throw new IllegalArgumentException(
                    "every id should have a span: were " + ids.length + " and " + tokens.size());
        }
        this.text = text;
        this.ids = ids.clone();
        this.tokens = List.copyOf(tokens);
        this.ended = ended;
    }

    public String text() {
        return text;
    }

    /** Number of ids, the end of the sentence included. */
    public int length() {
        return ids.length;
    }

    public long id(int position) {
        return ids[position];
    }

    /** A copy. */
    public long[] ids() {
        return ids.clone();
    }

    /** One for each id. */
    public List<TokenSpan> tokens() {
        return tokens;
    }

    public boolean ended() {
        return ended;
    }

    /** The tokens that stand for text: all but the end of the sentence. */
    public List<TokenSpan> wordTokens() {
        return ended ? tokens.subList(0, tokens.size() - 1) : tokens;
    }
}
