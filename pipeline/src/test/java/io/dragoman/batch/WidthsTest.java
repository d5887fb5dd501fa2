package io.dragoman.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WidthsTest {
    @ParameterizedTest
    @CsvSource({
        "1, 8",
        "8, 8",
        "9, 12",
        "12, 12",
        "13, 16",
        "17, 24",
        "32, 32",
        "33, 48",
        "97, 128",
        "129, 192",
        "193, 200"
    })
    void shouldTakeTheNextBucketThatHoldsTheLongest(int longest, int width) {
        assertEquals(width, new Widths(true, 200).of(longest));
        assertEquals(longest, Widths.EXACT.of(longest));
    }

    @Test
    void shouldNeverCutASentence() {
        assertEquals(201, new Widths(true, 200).of(201));
        assertEquals(5, new Widths(true, 5).of(3));
    }

    @Test
    void shouldListTheWidthsThatBatchesHave() {
        Widths widths = new Widths(true, 100);
        assertEquals(List.of(8, 12, 16, 24, 32, 48, 64, 96, 100), widths.all());
        for (int longest = 1; longest <= 100; longest++) {
            assertTrue(widths.all().contains(widths.of(longest)));
            assertTrue(widths.of(longest) <= Math.max(8, longest * 3 / 2));
        }
        assertThrows(IllegalStateException.class, Widths.EXACT::all);
        assertThrows(IllegalArgumentException.class, () -> new Widths(true, 0));
    }
}
