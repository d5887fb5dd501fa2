package io.dragoman.tokenize;

import com.ibm.icu.lang.UCharacter;
import com.ibm.icu.lang.UProperty;
import com.ibm.icu.text.BreakIterator;
import com.ibm.icu.util.ULocale;
import java.util.Optional;

/**
 * Where a text of a language may be cut, by the rules of Unicode and the language as ICU has them. Threading: safe for
 * many threads.
 */
final class Boundaries {
    /** What follows a place decides with it whether one may cut there; this much of it does. */
    private static final int LOOK_AHEAD = 64;

    private static final int EN_DASH = 0x2013;
    private static final int EM_DASH = 0x2014;

    private final BreakIterator sentences;
    private final BreakIterator lines;
    private final BreakIterator characters;

    /** @param language a BCP 47 code; one that ICU does not know has Unicode's rules alone */
    Boundaries(String language) {
        ULocale locale = ULocale.forLanguageTag(language);
        // ss: abbreviations of the language ("M. Dupont") end no sentence
        this.sentences = BreakIterator.getSentenceInstance(locale.setKeywordValue("ss", "standard"));
        this.lines = BreakIterator.getLineInstance(locale);
        this.characters = BreakIterator.getCharacterInstance(locale);
    }

    /** A place in a text and what it is the end of. */
    record Place(int position, Cut cut) {}

    /** The ends of the text's sentences, by {@code next()}; the space after a sentence belongs to it. */
    BreakIterator sentences(String text) {
        return over(sentences, text);
    }

    private static BreakIterator over(BreakIterator rules, String text) {
        BreakIterator own = rules.clone();
        own.setText(text);
        return own;
    }

    /**
     * The best place for an end after {@code from} and not after {@code limit}. The last one in the second half of that
     * stretch counts, so that what is cut into pieces gets few of them; only ends of characters count everywhere. Empty
     * when one character with its marks is the whole stretch.
     *
     * @param limit before the end of the text
     * @param wholeSentences whether an end of a sentence is best; otherwise the stretch is taken for one sentence
     */
    Optional<Place> before(String text, int from, int limit, boolean wholeSentences) {
        String window = text.substring(from, Math.min(text.length(), limit + LOOK_AHEAD));
        int last = limit - from;
        int found = wholeSentences ? lastOf(over(sentences, window), last) : 0;
        if (found > last / 2) {
            return Optional.of(new Place(from + found, Cut.SENTENCE));
        }
        int word = 0;
        BreakIterator breaks = over(lines, window);
        for (int at = breaks.next(); at != BreakIterator.DONE && at <= last; at = breaks.next()) {
            if (!isJoined(window, at)) { // a line may end between a space and its mark
                found = endsClause(window, at) ? at : found;
                word = endsWord(window, at) ? at : word;
            }
        }
        if (found > last / 2) {
            return Optional.of(new Place(from + found, Cut.CLAUSE));
        }
        if (word > last / 2) {
            return Optional.of(new Place(from + word, Cut.WORD));
        }
        int character = over(characters, window).preceding(last + 1);
        return character > 0 ? Optional.of(new Place(from + character, Cut.CHARACTER)) : Optional.empty();
    }

    /** Whether the character at a place is a mark or the like, one with the character before it. */
    static boolean isJoined(String text, int place) {
        return place < text.length()
                && switch (UCharacter.getIntPropertyValue(text.codePointAt(place), UProperty.GRAPHEME_CLUSTER_BREAK)) {
                    case UCharacter.GraphemeClusterBreak.EXTEND,
                            UCharacter.GraphemeClusterBreak.SPACING_MARK,
                            UCharacter.GraphemeClusterBreak.ZWJ -> true;
                    default -> false;
                };
    }

    private static int lastOf(BreakIterator breaks, int last) {
        int found = 0;
        for (int at = breaks.next(); at != BreakIterator.DONE && at <= last; at = breaks.next()) {
            found = at;
        }
        return found;
    }

    /** Whether punctuation or a dash stands before a place, white space and closing marks between them left out. */
    private static boolean endsClause(String text, int place) {
        int end = place;
        while (end > 0 && Words.isSpace(text.charAt(end - 1))) {
            end--;
        }
        while (end > 0 && isClosing(text.codePointBefore(end))) {
            end -= Character.charCount(text.codePointBefore(end));
        }
        if (end == 0) {
            return false;
        }
        int mark = text.codePointBefore(end);
        return mark == EN_DASH || mark == EM_DASH || UCharacter.hasBinaryProperty(mark, UProperty.TERMINAL_PUNCTUATION);
    }

    private static boolean isClosing(int point) {
        int type = Character.getType(point);
        return type == Character.END_PUNCTUATION || type == Character.FINAL_QUOTE_PUNCTUATION || point == '"';
    }

    /** A line may also be broken after a hyphen, where no word ends. */
    private static boolean endsWord(String text, int place) {
        int before = text.codePointBefore(place);
        int type = Character.getType(before);
        return UCharacter.isUWhiteSpace(before)
                || Character.isLetterOrDigit(before)
                || type == Character.NON_SPACING_MARK
                || type == Character.COMBINING_SPACING_MARK;
    }
}
