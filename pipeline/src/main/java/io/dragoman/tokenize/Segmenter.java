package io.dragoman.tokenize;

import com.ibm.icu.text.BreakIterator;
import io.dragoman.tokenize.Segmentation.Extent;
import io.dragoman.tokenize.Segmentation.Nothing;
import io.dragoman.tokenize.Segmentation.Pieces;
import io.dragoman.tokenize.Segmentation.TooLong;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The length policy: a text to pieces that the model takes, or the reason why not.
 *
 * <p>A text that fits is one piece. Otherwise every sentence is one; a sentence that does not fit ends early, at the last
 * clause that does, else at a word, else at a character ({@link Boundaries#before}). No piece ends inside a character
 * and its marks.
 *
 * <p>Work and memory are bounded by the limit on all tokens, not by the text: at most {@link #CHARACTERS_PER_TOKEN} times
 * the model's limit is tokenized at a time, and nothing after the limit is passed. Threading: safe for many threads.
 */
public final class Segmenter {
    /** A text with more UTF-16 units for each token that fits is split without a try: it is mostly invisible. */
    private static final int CHARACTERS_PER_TOKEN = 32;

    private final SubwordTokenizer tokenizer;
    private final Boundaries boundaries;
    private final Limits limits;

    /**
     * @param model its name, for explanations
     * @param maxTokens most tokens of a piece, the end of the sentence included
     * @param maxTextTokens most tokens of all pieces of a text
     */
    public record Limits(LengthPolicy policy, String model, int maxTokens, int maxTextTokens) {
        public Limits {
            if (maxTokens < 2 || maxTextTokens < 1) {
                throw new IllegalArgumentException(
                        "limits should leave room for a token: were " + maxTokens + " and " + maxTextTokens);
            }
        }
    }

    /**
     * @param tokenizer stays the caller's
     * @param language of the texts, a BCP 47 code
     */
    public Segmenter(SubwordTokenizer tokenizer, String language, Limits limits) {
        this.tokenizer = tokenizer;
        this.boundaries = new Boundaries(language);
        this.limits = limits;
    }

    /** @throws IllegalArgumentException when the text has half of a surrogate pair */
    public Segmentation segment(String text) {
        if (text.length() <= atOnce()) {
            TokenizedText whole = tokenizer.tokenize(text);
            if (whole.length() < 2) {
                return new Nothing();
            }
            if (whole.length() <= limits.maxTokens() && (limits.policy() != LengthPolicy.SENTENCES || isOne(text))) {
                return Pieces.whole(whole);
            }
            if (limits.policy() == LengthPolicy.REJECT) {
                return rejected("has " + whole.length());
            }
        }
        return switch (limits.policy()) {
            case REJECT -> rejected("has " + text.length() + " characters");
            case TRUNCATE -> beginning(text);
            case SPLIT, SENTENCES -> split(text);
        };
    }

    private int atOnce() {
        return (int) Math.min(Integer.MAX_VALUE, (long) CHARACTERS_PER_TOKEN * limits.maxTokens());
    }

    private boolean isOne(String text) {
        return boundaries.sentences(text).next() == text.length();
    }

    private TooLong rejected(String found) {
        return new TooLong("a text should have at most " + limits.maxTokens() + " subword tokens for the model "
                + limits.model() + ": " + found + "; split it into sentences, or set text.length.policy to split");
    }

    private Segmentation beginning(String text) {
        Cutter cutter = new Cutter(text, true);
        while (cutter.next(text.length(), Cut.TEXT)) {
            Piece piece = cutter.piece();
            if (piece.tokens().length() > 1) {
                boolean whole = piece.cut() == Cut.TEXT;
                return new Pieces(whole ? Extent.WHOLE : Extent.TRUNCATED, List.of(piece));
            }
        }
        return cutter.stuck ? oneCharacterTooLong() : new Nothing();
    }

    private Segmentation split(String text) {
        List<Piece> pieces = new ArrayList<>();
        int tokens = 0;
        Cutter cutter = new Cutter(text, false);
        BreakIterator sentences = boundaries.sentences(text);
        int last = Words.trimmedEnd(text);
        for (int end = sentences.next(); end != BreakIterator.DONE; end = sentences.next()) {
            while (cutter.next(end, end >= last ? Cut.TEXT : Cut.SENTENCE)) {
                Piece piece = cutter.piece();
                if (piece.tokens().length() < 2) {
                    continue; // nothing to be seen in it
                }
                tokens += piece.tokens().length();
                if (tokens > limits.maxTextTokens()) {
                    return new TooLong("a text should have at most " + limits.maxTextTokens()
                            + " subword tokens in all its pieces (text.max.tokens): has more");
                }
                pieces.add(piece);
            }
            if (cutter.stuck) {
                return oneCharacterTooLong();
            }
        }
        if (pieces.isEmpty()) {
            return new Nothing();
        }
        return new Pieces(pieces.size() == 1 ? Extent.WHOLE : Extent.SPLIT, pieces);
    }

    private TooLong oneCharacterTooLong() {
        return new TooLong("a character with its marks should have at most " + limits.maxTokens()
                + " subword tokens for the model " + limits.model() + ": has more, and cannot be split");
    }

    /** Goes through a text, a piece at a time. Threading: none. */
    private final class Cutter {
        private final String text;
        private final boolean wholeSentences;
        /** Where the last piece ends, and the next one begins after white space. */
        private int from;
        /** UTF-16 units that are tokenized to see what fits: some more than did before. */
        private int reach = atOnce();

        private Optional<Piece> piece = Optional.empty();
        private boolean stuck;

        Cutter(String text, boolean wholeSentences) {
            this.text = text;
            this.wholeSentences = wholeSentences;
        }

        Piece piece() {
            return piece.orElseThrow();
        }

        /** Finds the longest piece that fits before {@code to}; false when only white space is left, or when stuck. */
        boolean next(int to, Cut atEnd) {
            int end = to;
            while (end > from && Words.isSpace(text.charAt(end - 1))) {
                end--;
            }
            while (from < end && Words.isSpace(text.charAt(from)) && !Boundaries.isJoined(text, from + 1)) {
                from++;
            }
            if (from == end) {
                from = to;
                return false;
            }
            piece = longest(end, atEnd);
            stuck = piece.isEmpty();
            piece.ifPresent(found -> {
                from = found.end();
                reach = (int) Math.min(atOnce(), 4L * Math.max(limits.maxTokens(), found.end() - found.start()));
            });
            return !stuck;
        }

        private Optional<Piece> longest(int end, Cut atEnd) {
            int seen = end - from <= reach ? end : wholePoint(from + reach);
            TokenizedText tokens = tokenizer.tokenize(text.substring(from, seen));
            boolean fits = tokens.length() <= limits.maxTokens();
            if (fits && seen == end) {
                return Optional.of(new Piece(from, end, atEnd, tokens));
            }
            // the first token too many: a character of several bytes is in or out as a whole
            int limit = fits
                    ? seen
                    : from + tokens.tokens().get(limits.maxTokens() - 1).start();
            while (limit > from) {
                Optional<Boundaries.Place> place = boundaries.before(text, from, limit, wholeSentences);
                if (place.isEmpty()) {
                    break;
                }
                int last = place.get().position();
                while (last > from && Words.isSpace(text.charAt(last - 1))) {
                    last--;
                }
                TokenizedText cut = tokenizer.tokenize(text.substring(from, last));
                if (cut.length() <= limits.maxTokens()) {
                    return Optional.of(new Piece(from, last, place.get().cut(), cut));
                }
                limit -= Math.max(1, (limit - from) / 8); // cut elsewhere, a word may have more tokens
            }
            return Optional.empty();
        }

        /** Not between the halves of a surrogate pair. */
        private int wholePoint(int at) {
            return Character.isLowSurrogate(text.charAt(at)) ? at - 1 : at;
        }
    }
}
