package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Optional;
import org.junit.jupiter.api.Test;

class AlignmentMatrixTest {
    @Test
    void shouldHoldARowForEachTargetToken() {
        float[] weights = {0.1f, 0.2f, 0.7f, 0.3f, 0.3f, 0.4f};
        AlignmentMatrix matrix = new AlignmentMatrix(2, 3, weights);
        weights[0] = 9;
        assertEquals(2, matrix.rows());
        assertEquals(3, matrix.columns());
        assertEquals(0.1f, matrix.at(0, 0));
        assertEquals(0.7f, matrix.at(0, 2));
        assertEquals(0.3f, matrix.at(1, 0));
        assertEquals(0.4f, matrix.at(1, 2));
    }

    @Test
    void shouldRefusePlacesOutside() {
        AlignmentMatrix matrix = new AlignmentMatrix(2, 3, new float[6]);
        assertThrows(IndexOutOfBoundsException.class, () -> matrix.at(0, 3));
        assertThrows(IndexOutOfBoundsException.class, () -> matrix.at(1, -1));
        assertThrows(IndexOutOfBoundsException.class, () -> matrix.at(2, 0));
        assertThrows(IndexOutOfBoundsException.class, () -> matrix.at(-1, 2));
    }

    @Test
    void shouldRefuseWeightsThatDoNotFill() {
        assertThrows(IllegalArgumentException.class, () -> new AlignmentMatrix(2, 3, new float[5]));
        assertThrows(IllegalArgumentException.class, () -> new AlignmentMatrix(2, 0, new float[0]));
        assertThrows(IllegalArgumentException.class, () -> new AlignmentMatrix(-1, 1, new float[0]));
        assertEquals(0, new AlignmentMatrix(0, 3, new float[0]).rows());
    }

    @Test
    void shouldMeasureHowSpreadTheAttentionIs() {
        assertEquals(0, new AlignmentMatrix(2, 2, new float[] {1, 0, 0, 1}).normalizedEntropy());
        assertEquals(1, new AlignmentMatrix(1, 4, new float[] {.25f, .25f, .25f, .25f}).normalizedEntropy(), 1e-7);
        assertEquals(0.5, new AlignmentMatrix(2, 2, new float[] {1, 0, .5f, .5f}).normalizedEntropy(), 1e-7);
        // -(0.75 ln 0.75 + 0.25 ln 0.25) / ln 2
        assertEquals(0.811278, new AlignmentMatrix(1, 2, new float[] {.75f, .25f}).normalizedEntropy(), 1e-6);
        assertEquals(0, new AlignmentMatrix(1, 1, new float[] {1}).normalizedEntropy());
        assertEquals(0, new AlignmentMatrix(0, 3, new float[0]).normalizedEntropy());
    }

    @Test
    void shouldScoreAHypothesisByItsMeanLogProbability() {
        Hypothesis hypothesis =
                new Hypothesis(new long[] {5, 6, 2}, new float[] {-1, -0.5f, -0.25f}, Optional.empty(), false);
        assertEquals(-1.75, hypothesis.logProbability());
        assertEquals(-1.75 / 3, hypothesis.score());
        assertEquals(0, new Hypothesis(new long[0], new float[0], Optional.empty(), true).score());
    }

    @Test
    void shouldRefuseAHypothesisWithoutARowForEachId() {
        Optional<AlignmentMatrix> two = Optional.of(new AlignmentMatrix(2, 1, new float[2]));
        assertThrows(IllegalArgumentException.class, () -> new Hypothesis(new long[3], new float[3], two, false));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Hypothesis(new long[3], new float[2], Optional.empty(), false));
    }

    @Test
    void shouldNotBeChangedThroughArrays() {
        long[] ids = {5, 2};
        float[] logProbs = {-1, -1};
        Hypothesis hypothesis = new Hypothesis(ids, logProbs, Optional.empty(), false);
        ids[0] = 9;
        logProbs[0] = 9;
        hypothesis.ids()[0] = 9;
        hypothesis.logProbs()[0] = 9;
        assertEquals(5, hypothesis.ids()[0]);
        assertEquals(-1, hypothesis.logProbs()[0]);
    }
}
