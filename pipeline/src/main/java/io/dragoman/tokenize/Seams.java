package io.dragoman.tokenize;

import com.ibm.icu.lang.UScript;
import com.ibm.icu.util.ULocale;

/** What stands between the translations of two pieces. Threading: safe for many threads. */
public final class Seams {
    private final boolean spaced;

    /** @param language of the translations, a BCP 47 code */
    public Seams(String language) {
        int[] scripts = UScript.getCode(ULocale.forLanguageTag(language));
        this.spaced = scripts == null || scripts.length == 0 || !UScript.breaksBetweenLetters(scripts[0]);
    }

    /**
     * The white space that stood between the pieces, line breaks and all. Where there was none, a space, unless a word was
     * cut; and in a language that writes no spaces, nothing but line breaks.
     *
     * @param gap what stood between the pieces in the text
     * @param cut what the first piece ends at
     */
    public String between(String gap, Cut cut) {
        StringBuilder space = new StringBuilder();
        boolean broken = false;
        for (int i = 0; i < gap.length(); i++) {
            char c = gap.charAt(i);
            if (Words.isSpace(c)) {
                space.append(c);
                broken |= c == '\n' || c == '\r' || c == '\u2028' || c == '\u2029' || c == '\u0085';
            }
        }
        if ((!spaced && !broken) || (space.isEmpty() && cut == Cut.CHARACTER)) {
            return "";
        }
        return space.isEmpty() ? " " : space.toString();
    }
}
