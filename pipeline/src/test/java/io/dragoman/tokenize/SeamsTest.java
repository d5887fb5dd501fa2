package io.dragoman.tokenize;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SeamsTest {
    @Test
    void shouldKeepTheWhiteSpaceOfTheText() {
        Seams seams = new Seams("en");
        assertEquals(" ", seams.between(" ", Cut.SENTENCE));
        assertEquals("\r\n\r\n", seams.between("\r\n\r\n", Cut.SENTENCE));
        assertEquals("  ", seams.between("\u200b \u200b ", Cut.CLAUSE));
        assertEquals(" ", seams.between(" ", Cut.CHARACTER));
    }

    @Test
    void shouldPutASpaceWhereTheTextHasNoneUnlessAWordWasCut() {
        assertEquals(" ", new Seams("en").between("", Cut.SENTENCE));
        assertEquals(" ", new Seams("en").between("\u200b", Cut.WORD));
        assertEquals("", new Seams("en").between("", Cut.CHARACTER));
    }

    @ParameterizedTest
    @ValueSource(strings = {"zh", "ja", "th", "zh-hant", "lo", "my", "km"})
    void shouldKeepNothingButLineBreaksInALanguageWithoutSpaces(String language) {
        assertEquals("", new Seams(language).between(" ", Cut.SENTENCE));
        assertEquals("", new Seams(language).between("", Cut.SENTENCE));
        assertEquals("\n", new Seams(language).between("\n", Cut.SENTENCE));
    }

    @ParameterizedTest
    @ValueSource(strings = {"en", "ko", "ar", "ru", "hi", "xx", "", "not a code"})
    void shouldWriteSpacesInAllOthers(String language) {
        assertEquals(" ", new Seams(language).between("", Cut.SENTENCE));
    }
}
