package io.dragoman.batch;

import java.time.Duration;

/**
 * When a batch is closed, and what goes into it.
 *
 * @param rows most sentences in a batch
 * @param paddedTokens most of rows x longest source, padding counted
 * @param linger how long the oldest sentence waits for company while the batch is not full
 * @param window how many of the first in line a batch may be picked from; larger means less padding
 * @param runCost what a run costs besides its padded tokens, in tokens: a batch widens only while that makes a token cheaper
 * @param allowance how much earlier a sentence of one priority class stands in line than one of the next lower class that
 *     came with it
 * @param widths how wide batches are padded
 */
public record BatchLimits(
        int rows, int paddedTokens, Duration linger, int window, int runCost, Duration allowance, Widths widths) {
    public BatchLimits {
        if (rows < 1
                || paddedTokens < 1
                || window < 1
                || runCost < 1
                || linger.isNegative()
                || allowance.isNegative()) {
            throw new IllegalArgumentException("batch limits should be positive: were rows " + rows + ", padded tokens "
                    + paddedTokens + ", window " + window + ", run cost " + runCost + ", linger " + linger
                    + ", allowance " + allowance);
        }
    }

    /** As wide as their longest sentence. */
    public BatchLimits(int rows, int paddedTokens, Duration linger, int window, int runCost, Duration allowance) {
        this(rows, paddedTokens, linger, window, runCost, allowance, Widths.EXACT);
    }

    /** The same limits with one sentence a batch. */
    public BatchLimits singly() {
        return new BatchLimits(1, paddedTokens, Duration.ZERO, 1, runCost, allowance, widths);
    }
}
