package io.dragoman.batch;

import java.time.Duration;

/**
 * When a batch is closed.
 *
 * @param rows most sentences in a batch
 * @param paddedTokens most of rows x longest source, padding counted
 * @param linger how long the oldest sentence waits for company while the batch is not full
 * @param window how many of the oldest waiting sentences a batch may be picked from; larger means less padding
 */
public record BatchLimits(int rows, int paddedTokens, Duration linger, int window) {
    public BatchLimits {
        if (rows < 1 || paddedTokens < 1 || window < 1 || linger.isNegative()) {
            throw new IllegalArgumentException("batch limits should be positive: were rows " + rows + ", padded tokens "
                    + paddedTokens + ", window " + window + ", linger " + linger);
        }
    }

    /** The same limits with one sentence a batch. */
    public BatchLimits singly() {
        return new BatchLimits(1, paddedTokens, Duration.ZERO, 1);
    }
}
