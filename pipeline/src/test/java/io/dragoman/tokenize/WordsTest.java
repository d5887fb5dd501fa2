package io.dragoman.tokenize;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WordsTest {
    /** What {@code str.split()} of Python 3.11 splits at: every c for which {@code len(("a" + c + "b").split()) == 2}. */
    private static final Set<Integer> PYTHON_SPACES = Set.of(
            0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002,
            0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000);

    @Test
    void shouldSplitAtExactlyWhatPythonSplitsAt() {
        Set<Integer> found = new TreeSet<>();
        for (int c = 0; c <= 0xffff; c++) {
            if (Words.of("a" + (char) c + "b").count() == 2) {
                found.add(c);
            }
        }
        assertEquals(new TreeSet<>(PYTHON_SPACES), found);
    }

    @Test
    void shouldCountRunsOfSpacesOnce() {
        assertEquals(0, Words.of("").count());
        assertEquals(0, Words.of(" \t\u00a0\u3000").count());
        assertEquals(1, Words.of("chat").count());
        assertEquals(3, Words.of("  le \t\u00a0chat\u2028\u2028noir ").count());
        assertEquals(1, Words.of("zero\u200bwidth\ufeffis\u180eno\u0000space").count());
        assertEquals(2, Words.of("😀 😀").count());
    }

    @ParameterizedTest
    @CsvSource({
        "0, 0",
        "1, 0", // le
        "2, 1",
        "3, 1", // the spaces before chat
        "4, 1",
        "7, 1", // chat
        "8, 2", // the space before noir
        "9, 2",
        "12, 2", // noir
        "13, 2",
        "14, 2" // after the last word
    })
    void shouldGiveATokenToTheWordItStandsInOrBefore(int start, int word) {
        assertEquals(word, Words.of("le  chat noir ").wordOf(new TokenSpan("x", start, start)));
    }

    @Test
    void shouldGiveATokenBeforeTheFirstWordToTheFirst() {
        assertEquals(0, Words.of("  le").wordOf(new TokenSpan("x", 0, 0)));
        assertEquals(0, Words.of("").wordOf(new TokenSpan("x", 0, 0)));
    }

    @Test
    void shouldFindTheWordOfEveryPieceOfAText() {
        TokenizedText text = Texts.pieces("le cha|ts noir|s");
        Words words = Words.of(text.text());
        assertEquals(
                List.of(0, 1, 1, 2, 2),
                text.wordTokens().stream().map(words::wordOf).toList());
    }
}
