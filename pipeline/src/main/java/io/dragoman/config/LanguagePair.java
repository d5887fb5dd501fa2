package io.dragoman.config;

import java.util.Locale;
import java.util.regex.Pattern;

/**
 * What is translated into what, as BCP 47 codes in lower case.
 */
public record LanguagePair(String source, String target) {
    private static final Pattern CODE = Pattern.compile("[a-z]{2,8}(-[a-z0-9]{1,8})*");

    public LanguagePair {
        source = source.toLowerCase(Locale.ROOT);
        target = target.toLowerCase(Locale.ROOT);
    }

    /** Whether both codes have the form of a language code. */
    public boolean isWellFormed() {
        return CODE.matcher(source).matches() && CODE.matcher(target).matches();
    }

    @Override
    public String toString() {
        return source + "-" + target;
    }
}
