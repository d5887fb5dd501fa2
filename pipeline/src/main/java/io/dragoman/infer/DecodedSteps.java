package io.dragoman.infer;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * What the graph chose at every step, and the walk back from the best final slot.
 *
 * <p>Letters: T steps, B sentences, K slots, S padded source length. Slots are the running beams and then the pool of
 * finished hypotheses, twice the beam size in all; a hypothesis ends in the pool, and the beams that were still running
 * have a score of -infinity. (Graphs without a pool have the beams alone.) At step t, slot k of a sentence holds
 * {@code tokens[t, b, k]} and continues slot {@code parents[t, b, k]} of step t-1, so the row to publish for a token
 * belongs to the token's own slot. Taking the row of the final slot at every step instead is the classical mistake
 * (alignments then belong to other hypotheses). A graph gives the rows along its N best hypotheses, {@code attention[t, b, n]}
 * for the one that ends in the n-th slot of the pool; or, when it knows no N, for every slot.
 */
final class DecodedSteps {
    private final int steps;
    private final int sentences;
    private final int slots;
    private final int width;
    private final long[] tokens;
    private final long[] parents;
    private final float[] logProbs;
    private final float[] attention;
    /** Hypotheses or slots that have rows at each step. */
    private final int attended;

    private final float[] scores;

    /** Takes the arrays over; {@code attention} is empty for architectures without it. */
    DecodedSteps(
            int steps,
            int sentences,
            int slots,
            int width,
            long[] tokens,
            long[] parents,
            float[] logProbs,
            float[] attention,
            float[] scores) {
        int cells = steps * sentences * slots;
        if (tokens.length != cells
                || parents.length != cells
                || logProbs.length != cells
                || scores.length != sentences * slots
                || !fits(attention.length, steps * sentences * width, slots)) {
            throw new ModelException("the graph's outputs should be [" + steps + ", " + sentences + ", " + slots
                    + "] with attention of width " + width + ": their sizes differ");
        }
        this.attended = attention.length / (steps * sentences * width);
        this.steps = steps;
        this.sentences = sentences;
        this.slots = slots;
        this.width = width;
        this.tokens = tokens;
        this.parents = parents;
        this.logProbs = logProbs;
        this.attention = attention;
        this.scores = scores;
    }

    /** Attention of all slots, of half of them at most, or none. */
    private static boolean fits(int weights, int row, int slots) {
        return row > 0 && weights % row == 0 && (weights / row == slots || weights / row <= slots / 2);
    }

    /**
     * The hypotheses of one sentence, at most as many as are wanted, best first by {@code score / length^penalty}; the earlier slot
     * wins a tie.
     *
     * @param sourceTokens the sentence's own length, at most the width: columns beyond are padding and left out
     * @param limit steps the sentence may take
     */
    List<Hypothesis> hypotheses(int sentence, int sourceTokens, int limit, long endId, DecodingOptions options) {
        List<Hypothesis> found = new ArrayList<>();
        for (int slot = 0; slot < slots; slot++) {
            float score = scores[sentence * slots + slot];
            if (Float.isNaN(score)) {
                throw new ModelException("the model's score is not a number");
            }
            if (score > Float.NEGATIVE_INFINITY && isAttended(slot)) {
                found.add(traceBack(sentence, slot, sourceTokens, Math.min(limit, steps), endId));
            }
        }
        if (found.isEmpty()) {
            throw new ModelException("the model gave every hypothesis probability 0");
        }
        found.sort(Comparator.comparingDouble((Hypothesis h) -> h.rank(options.lengthPenalty()))
                .reversed());
        return List.copyOf(found.subList(0, Math.min(found.size(), options.best())));
    }

    /** Whether there are rows for the hypothesis that ends in a slot, or it needs none. */
    private boolean isAttended(int slot) {
        int number = slot - slots / 2;
        return attended == 0 || attended == slots || (number >= 0 && number < attended);
    }

    private Hypothesis traceBack(int sentence, int lastSlot, int sourceTokens, int limit, long endId) {
        int[] path = new int[steps];
        int slot = lastSlot;
        for (int step = steps - 1; step >= 0; step--) {
            path[step] = slot;
            long parent = parents[cell(step, sentence, slot)];
            if (parent < 0 || parent >= slots) {
                throw new ModelException("the graph's parent should be a slot: was " + parent);
            }
            slot = (int) parent;
        }
        int length = 0;
        boolean ended = false;
        while (length < limit && !ended) {
            ended = tokens[cell(length, sentence, path[length])] == endId;
            length++;
        }
        long[] ids = new long[length];
        float[] chosen = new float[length];
        float[] weights = new float[attention.length == 0 ? 0 : length * sourceTokens];
        for (int step = 0; step < length; step++) {
            int cell = cell(step, sentence, path[step]);
            ids[step] = tokens[cell];
            chosen[step] = logProbs[cell];
            if (attended != 0) {
                int row = attended == slots ? cell : (step * sentences + sentence) * attended + lastSlot - slots / 2;
                System.arraycopy(attention, row * width, weights, step * sourceTokens, sourceTokens);
            }
        }
        check(chosen, weights);
        Optional<AlignmentMatrix> matrix = attention.length == 0
                ? Optional.empty()
                : Optional.of(new AlignmentMatrix(length, sourceTokens, weights));
        return new Hypothesis(ids, chosen, matrix, !ended);
    }

    /** So that what cannot be published fails here, for this sentence alone. */
    private static void check(float[] logProbs, float[] weights) {
        for (float logProb : logProbs) {
            if (Float.isNaN(logProb)) {
                throw new ModelException("the model's log-probability is not a number");
            }
        }
        for (float weight : weights) {
            if (!(weight >= 0 && weight <= 1.001f)) {
                throw new ModelException("the model's attention should be between 0 and 1: was " + weight);
            }
        }
    }

    private int cell(int step, int sentence, int slot) {
        return (step * sentences + sentence) * slots + slot;
    }
}
