package io.dragoman.batch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.dragoman.tokenize.Texts;
import io.dragoman.tokenize.TokenizedText;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class PaddedBatchTest {
    @Test
    void shouldPadOnTheRightToTheLongest() {
        PaddedBatch batch = new PaddedBatch(
                List.of(Texts.pieces("le chat"), Texts.pieces("oui"), Texts.pieces("le cha|t noir")), 0);
        assertEquals(3, batch.rows());
        assertEquals(5, batch.width());
        assertEquals("oui", batch.sentence(1).text());
        assertArrayEquals(
                new long[] {
                    10, 11, 2, 0, 0,
                    10, 2, 0, 0, 0,
                    10, 11, 12, 13, 2
                },
                batch.ids());
        assertArrayEquals(
                new long[] {
                    1, 1, 1, 0, 0,
                    1, 1, 0, 0, 0,
                    1, 1, 1, 1, 1
                },
                batch.mask());
    }

    @Test
    void shouldHideByTheMaskAndNotByTheId() {
        PaddedBatch batch = new PaddedBatch(List.of(Texts.pieces("a"), Texts.pieces("a b")), 10);
        assertArrayEquals(new long[] {10, 2, 10, 10, 11, 2}, batch.ids());
        assertArrayEquals(new long[] {1, 1, 0, 1, 1, 1}, batch.mask());
    }

    @Test
    void shouldGiveNewArraysEachTime() {
        PaddedBatch batch = new PaddedBatch(List.of(Texts.pieces("a")), 0);
        batch.ids()[0] = 99;
        batch.mask()[0] = 99;
        assertArrayEquals(new long[] {10, 2}, batch.ids());
        assertArrayEquals(new long[] {1, 1}, batch.mask());
    }

    @Test
    void shouldRefuseNothingAndSentencesOfNothing() {
        TokenizedText nothing = new TokenizedText("", new long[0], List.of(), false);
        assertThrows(IllegalArgumentException.class, () -> new PaddedBatch(List.of(), 0));
        assertThrows(IllegalArgumentException.class, () -> new PaddedBatch(List.of(Texts.pieces("a"), nothing), 0));
    }

    @Test
    void shouldBeAsWideAsItsBucket() {
        PaddedBatch batch = new PaddedBatch(List.of(Texts.pieces("a b c")), 7, new Widths(true, 100));
        assertEquals(8, batch.width());
        assertArrayEquals(new long[] {1, 1, 1, 1, 0, 0, 0, 0}, Arrays.copyOf(batch.mask(), 8));
        assertEquals(7, batch.ids()[7]);
    }

    @Test
    void shouldRefuseLimitsUnderWhichNothingLeaves() {
        Duration linger = Duration.ofMillis(5);
        assertThrows(IllegalArgumentException.class, () -> new BatchLimits(0, 1, linger, 1, 1, linger));
        assertThrows(IllegalArgumentException.class, () -> new BatchLimits(1, 0, linger, 1, 1, linger));
        assertThrows(IllegalArgumentException.class, () -> new BatchLimits(1, 1, linger, 0, 1, linger));
        assertThrows(IllegalArgumentException.class, () -> new BatchLimits(1, 1, linger, 1, 0, linger));
        assertThrows(IllegalArgumentException.class, () -> new BatchLimits(1, 1, Duration.ofNanos(-1), 1, 1, linger));
        assertEquals(
                new BatchLimits(1, 99, Duration.ZERO, 1, 5, linger),
                new BatchLimits(7, 99, linger, 8, 5, linger).singly());
    }
}
