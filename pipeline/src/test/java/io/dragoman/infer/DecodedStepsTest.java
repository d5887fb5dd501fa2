package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Letters: T steps, B sentences, K slots, S padded source length. */
class DecodedStepsTest {
    private static final long END = 2;
    private static final float NO = Float.NEGATIVE_INFINITY;

    /**
     * Two beams that change places at every step. Slot 0 ends as 10 21 END, slot 1 as 11 20 END; every weight names the
     * step and slot it stands in, so that a row from another slot cannot pass for the right one.
     */
    private static DecodedSteps crossing() {
        return new DecodedSteps(
                3,
                1,
                2,
                3,
                new long[] {10, 11, 20, 21, END, END}, // [T, B, K]
                new long[] {0, 0, 1, 0, 1, 0},
                new float[] {-0.10f, -0.11f, -0.20f, -0.21f, -0.30f, -0.31f},
                new float[] { // [T, B, K, S], the third column is padding
                    0.00f, 1.00f, 0, // step 0, slot 0
                    0.01f, 0.99f, 0, //         slot 1
                    0.10f, 0.90f, 0, // step 1, slot 0
                    0.11f, 0.89f, 0, //         slot 1
                    0.20f, 0.80f, 0, // step 2, slot 0
                    0.21f, 0.79f, 0, //         slot 1
                },
                new float[] {-0.61f, -0.62f}); // [B, K]
    }

    @Test
    void shouldWalkTheParentsBackFromEachFinalSlot() {
        List<Hypothesis> found = crossing().hypotheses(0, 2, 10, END, penalty(0));
        assertEquals(2, found.size());
        assertArrayEquals(new long[] {10, 21, END}, found.get(0).ids());
        assertArrayEquals(new float[] {-0.10f, -0.21f, -0.30f}, found.get(0).logProbs());
        assertArrayEquals(new long[] {11, 20, END}, found.get(1).ids());
        assertArrayEquals(new float[] {-0.11f, -0.20f, -0.31f}, found.get(1).logProbs());
        assertFalse(found.get(0).truncated());
    }

    @Test
    void shouldTakeEachAttentionRowFromItsTokensOwnSlot() {
        List<Hypothesis> found = crossing().hypotheses(0, 2, 10, END, penalty(0));
        assertMatrix(new float[][] {{0.00f, 1.00f}, {0.11f, 0.89f}, {0.20f, 0.80f}}, found.get(0));
        assertMatrix(new float[][] {{0.01f, 0.99f}, {0.10f, 0.90f}, {0.21f, 0.79f}}, found.get(1));
    }

    @Test
    void shouldFindASentenceAmongOthers() {
        DecodedSteps steps = new DecodedSteps( // T 2, B 2, K 2, S 2
                2,
                2,
                2,
                2,
                new long[] {10, 11, 30, 31, 20, END, 40, END},
                new long[] {0, 0, 0, 0, 1, 0, 1, 1},
                new float[] {-1, -1, -1, -1, -1, -1, -1, -2},
                new float[] {
                    .5f, .5f, .4f, .6f, .3f, .7f, .2f, .8f, // step 0: sentence 0 slots 0, 1; sentence 1 slots 0, 1
                    .6f, .4f, .7f, .3f, .8f, .2f, .9f, .1f
                },
                new float[] {-2, -2, -2, -3});
        List<Hypothesis> second = steps.hypotheses(1, 2, 10, END, penalty(0));
        assertArrayEquals(new long[] {31, 40}, second.get(0).ids());
        assertMatrix(new float[][] {{.2f, .8f}, {.8f, .2f}}, second.get(0));
        assertArrayEquals(new long[] {31, END}, second.get(1).ids());
        assertMatrix(new float[][] {{.2f, .8f}, {.9f, .1f}}, second.get(1));
        List<Hypothesis> first = steps.hypotheses(0, 1, 10, END, penalty(0));
        assertArrayEquals(new long[] {11, 20}, first.get(0).ids());
        assertArrayEquals(new long[] {10, END}, first.get(1).ids());
    }

    @Test
    void shouldCutABeamThatWaitedForOthersAtItsEnd() {
        DecodedSteps steps = new DecodedSteps( // slot 0 ends at step 1 and is frozen from then on
                4,
                1,
                2,
                1,
                new long[] {10, 11, END, 21, END, 31, END, 41},
                new long[] {0, 0, 0, 1, 0, 1, 0, 1},
                new float[] {-1, -1, -1, -1, 0, -1, 0, -1},
                ones(8),
                new float[] {-2, -4});
        List<Hypothesis> found = steps.hypotheses(0, 1, 4, END, penalty(0));
        assertArrayEquals(new long[] {10, END}, found.get(0).ids());
        assertFalse(found.get(0).truncated());
        assertEquals(2, found.get(0).attention().orElseThrow().rows());
        assertArrayEquals(new long[] {11, 21, 31, 41}, found.get(1).ids());
        assertTrue(found.get(1).truncated());
    }

    @Test
    void shouldLeaveOutBeamsThatWereNeverFilled() {
        DecodedSteps steps = new DecodedSteps(
                1, 1, 3, 1, new long[] {END, 5, 5}, new long[3], new float[] {-1, NO, NO}, ones(3), new float[] {
                    -1, NO, NO
                });
        assertEquals(1, steps.hypotheses(0, 1, 5, END, penalty(0)).size());
    }

    @Test
    void shouldStopAtTheLimitAndSaySo() {
        Hypothesis cut = crossing().hypotheses(0, 2, 2, END, penalty(0)).get(0);
        assertArrayEquals(new long[] {10, 21}, cut.ids());
        assertTrue(cut.truncated());
        assertMatrix(new float[][] {{0.00f, 1.00f}, {0.11f, 0.89f}}, cut);
        Hypothesis whole = crossing().hypotheses(0, 2, 3, END, penalty(0)).get(0);
        assertEquals(3, whole.length());
        assertFalse(whole.truncated(), "an end at the limit is an end");
    }

    @Test
    void shouldRankBySummedLogProbabilityOverAPowerOfTheLength() {
        long[] tokens = {10, 11, END, 21, END, END}; // slot 0: 10 END, slot 1: 11 21 END
        long[] parents = {0, 1, 0, 1, 0, 1};
        float[] logProbs = {-1.0f, -0.9f, -1.0f, -0.9f, 0, -0.5f}; // sums -2.0 and -2.3, means -1.0 and -0.77
        float[] scores = {-2.0f, -2.3f};
        DecodedSteps steps = new DecodedSteps(3, 1, 2, 1, tokens, parents, logProbs, ones(6), scores);
        assertArrayEquals(
                new long[] {10, END},
                steps.hypotheses(0, 1, 9, END, penalty(0)).get(0).ids());
        assertArrayEquals(
                new long[] {11, 21, END},
                steps.hypotheses(0, 1, 9, END, penalty(1)).get(0).ids());
        assertEquals(-1.0, steps.hypotheses(0, 1, 9, END, penalty(0)).get(0).score(), 1e-6);
        assertEquals(-2.3 / 3, steps.hypotheses(0, 1, 9, END, penalty(1)).get(0).score(), 1e-6);
        assertEquals(
                -2.0 / Math.pow(2, 0.6),
                steps.hypotheses(0, 1, 9, END, penalty(0)).get(0).rank(0.6),
                1e-6);
    }

    @Test
    void shouldPreferTheEarlierSlotOnATie() {
        DecodedSteps steps = new DecodedSteps(
                1, 1, 3, 1, new long[] {7, 8, 9}, new long[3], new float[] {-2, -1, -1}, ones(3), new float[] {
                    -2, -1, -1
                });
        assertEquals(
                List.of(8L, 9L, 7L),
                steps.hypotheses(0, 1, 1, END, penalty(1)).stream()
                        .map(hypothesis -> hypothesis.ids()[0])
                        .toList());
    }

    @Test
    void shouldGiveNoMatrixWithoutAttention() {
        DecodedSteps steps = new DecodedSteps(
                1, 1, 1, 5, new long[] {END}, new long[1], new float[] {-1}, new float[0], new float[] {-1});
        assertEquals(
                Optional.empty(),
                steps.hypotheses(0, 3, 5, END, penalty(0)).get(0).attention());
    }

    @Test
    void shouldFailOnAScoreThatIsNoNumber() {
        assertFailure("the model's score is not a number", single(END, 0, -1, 1, Float.NaN));
    }

    @Test
    void shouldFailOnALogProbabilityThatIsNoNumber() {
        assertFailure("the model's log-probability is not a number", single(END, 0, Float.NaN, 1, -1));
    }

    @Test
    void shouldFailOnAWeightThatIsNone() {
        assertFailure("the model's attention should be between 0 and 1: was NaN", single(END, 0, -1, Float.NaN, -1));
        assertFailure("the model's attention should be between 0 and 1: was -0.5", single(END, 0, -1, -0.5f, -1));
        assertFailure("the model's attention should be between 0 and 1: was 1.5", single(END, 0, -1, 1.5f, -1));
    }

    @Test
    void shouldFailWhenNoHypothesisIsPossible() {
        assertFailure("the model gave every hypothesis probability 0", single(END, 0, -1, 1, NO));
    }

    @Test
    void shouldFailOnAParentThatIsNoSlot() {
        assertFailure("the graph's parent should be a slot: was 1", single(END, 1, -1, 1, -1));
        assertFailure("the graph's parent should be a slot: was -1", single(END, -1, -1, 1, -1));
    }

    @Test
    void shouldFailOnArraysOfAnotherShape() {
        long[] two = new long[2];
        float[] floats = new float[2];
        float[] weights = new float[6];
        new DecodedSteps(2, 1, 1, 3, two, two, floats, weights, new float[1]);
        ModelException e = assertThrows(
                ModelException.class, () -> new DecodedSteps(2, 1, 1, 3, two, two, floats, new float[5], new float[1]));
        assertEquals(
                "the graph's outputs should be [2, 1, 1] with attention of width 3: their sizes differ",
                e.getMessage());
        assertThrows(
                ModelException.class,
                () -> new DecodedSteps(2, 1, 1, 3, new long[1], two, floats, weights, new float[1]));
        assertThrows(
                ModelException.class,
                () -> new DecodedSteps(2, 1, 1, 3, two, new long[3], floats, weights, new float[1]));
        assertThrows(
                ModelException.class,
                () -> new DecodedSteps(2, 1, 1, 3, two, two, new float[1], weights, new float[1]));
        assertThrows(ModelException.class, () -> new DecodedSteps(2, 1, 1, 3, two, two, floats, weights, new float[2]));
    }

    @Test
    void shouldAllowStepsByTheSentencesLength() {
        BundleManifest.Limits limits = new BundleManifest.Limits(200, 256, 2, 20);
        assertEquals(26, limits.steps(3, 256, 0));
        assertEquals(10, limits.steps(3, 10, 0));
        assertEquals(256, limits.steps(200, 256, 0));
        assertEquals(40, limits.steps(3, 256, 40), "forced positions always may");
    }

    /** Beam 2: slots 0 and 1 run, 2 and 3 are the pool, whose hypotheses end at different steps. */
    @Test
    void shouldFindHypothesesInThePoolAndNoneAmongTheBeamsThatStillRan() {
        DecodedSteps steps = new DecodedSteps(
                3,
                1,
                4,
                1,
                new long[] {10, 11, END, END, 20, 21, END, END, 30, 31, END, END}, // [T, B, K]
                new long[] {0, 0, 2, 3, 0, 1, 1, 3, 0, 1, 2, 0}, // slot 1 ends at step 1, slot 0 at step 2
                new float[] {-1, -2, 0, 0, -1, -2, -0.5f, 0, -1, -2, 0, -0.25f},
                new float[] {.10f, .11f, .12f, .13f, .20f, .21f, .22f, .23f, .30f, .31f, .32f, .33f},
                new float[] {NO, NO, -2.5f, -2.25f});
        List<Hypothesis> found = steps.hypotheses(0, 1, 9, END, new DecodingOptions(2, 9, 0));
        assertEquals(2, found.size());
        assertArrayEquals(new long[] {10, 20, END}, found.get(0).ids());
        assertMatrix(new float[][] {{.10f}, {.20f}, {.33f}}, found.get(0));
        assertArrayEquals(new long[] {11, END}, found.get(1).ids());
        assertArrayEquals(new float[] {-2, -0.5f}, found.get(1).logProbs());
        assertMatrix(new float[][] {{.11f}, {.22f}}, found.get(1));
    }

    /** The same, with rows along the hypotheses of the pool. */
    private static DecodedSteps along(float... attention) {
        return along(NO, attention);
    }

    private static DecodedSteps along(float stillRan, float[] attention) {
        return new DecodedSteps(
                3,
                1,
                4,
                1,
                new long[] {10, 11, END, END, 20, 21, END, END, 30, 31, END, END},
                new long[] {0, 0, 2, 3, 0, 1, 1, 3, 0, 1, 2, 0},
                new float[] {-1, -2, 0, 0, -1, -2, -0.5f, 0, -1, -2, 0, -0.25f},
                attention,
                new float[] {stillRan, NO, -2.5f, -2.25f});
    }

    @Test
    void shouldTakeNoRowOfAnotherForABeamThatHasAScoreAndNone() {
        List<Hypothesis> found =
                along(-0.1f, new float[] {.11f, .22f, .99f}).hypotheses(0, 1, 9, END, new DecodingOptions(2, 9, 0));
        assertEquals(1, found.size());
        assertArrayEquals(new long[] {11, END}, found.get(0).ids());
    }

    @Test
    void shouldTakeTheRowsAlongAHypothesis() {
        List<Hypothesis> found =
                along(.11f, .10f, .22f, .20f, .99f, .33f).hypotheses(0, 1, 9, END, new DecodingOptions(2, 9, 0));
        assertArrayEquals(new long[] {10, 20, END}, found.get(0).ids());
        assertMatrix(new float[][] {{.10f}, {.20f}, {.33f}}, found.get(0));
        assertArrayEquals(new long[] {11, END}, found.get(1).ids());
        assertMatrix(new float[][] {{.11f}, {.22f}}, found.get(1));
    }

    @Test
    void shouldGiveHypothesesThatHaveRowsAlone() {
        List<Hypothesis> found = along(.11f, .22f, .99f).hypotheses(0, 1, 9, END, new DecodingOptions(2, 1, 9, 0));
        assertEquals(1, found.size());
        assertArrayEquals(new long[] {11, END}, found.get(0).ids());
        assertMatrix(new float[][] {{.11f}, {.22f}}, found.get(0));
    }

    @Test
    void shouldRefuseRowsForNeitherSlotsNorHypotheses() {
        assertThrows(ModelException.class, () -> along(new float[9]));
        assertThrows(ModelException.class, () -> along(new float[4]));
    }

    @Test
    void shouldGiveAtMostAsManyHypothesesAsBeams() {
        assertEquals(
                1,
                crossing()
                        .hypotheses(0, 2, 10, END, new DecodingOptions(1, 10, 0))
                        .size());
    }

    @Test
    void shouldAllowTheSameStepsToAllSentencesWhenTheRatioIsZero() {
        BundleManifest.Limits flat = new BundleManifest.Limits(512, 512, 0, 511);
        assertEquals(511, flat.steps(2, 512, 0));
        assertEquals(511, flat.steps(500, 512, 0));
        assertEquals(64, flat.steps(500, 64, 0));
    }

    private static DecodingOptions penalty(double lengthPenalty) {
        return new DecodingOptions(4, 10, lengthPenalty);
    }

    private static DecodedSteps single(long token, long parent, float logProb, float weight, float score) {
        return new DecodedSteps(
                1,
                1,
                1,
                1,
                new long[] {token},
                new long[] {parent},
                new float[] {logProb},
                new float[] {weight},
                new float[] {score});
    }

    private static void assertFailure(String message, DecodedSteps steps) {
        ModelException e = assertThrows(ModelException.class, () -> steps.hypotheses(0, 1, 1, END, penalty(0)));
        assertEquals(message, e.getMessage());
    }

    private static float[] ones(int cells) {
        float[] ones = new float[cells];
        Arrays.fill(ones, 1);
        return ones;
    }

    private static void assertMatrix(float[][] expected, Hypothesis hypothesis) {
        AlignmentMatrix matrix = hypothesis.attention().orElseThrow();
        assertEquals(expected.length, matrix.rows());
        assertEquals(expected[0].length, matrix.columns());
        for (int row = 0; row < expected.length; row++) {
            for (int column = 0; column < expected[row].length; column++) {
                assertEquals(expected[row][column], matrix.at(row, column), "row " + row + ", column " + column);
            }
        }
    }
}
