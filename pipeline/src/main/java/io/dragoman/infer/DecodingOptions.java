package io.dragoman.infer;

/**
 * How to search.
 *
 * @param beamSize hypotheses kept at each step; 1 is greedy
 * @param maxTargetTokens most steps; a sentence also stops at a multiple of its own length that the bundle states
 * @param lengthPenalty exponent of the length that a hypothesis's summed log-probability is divided by
 */
public record DecodingOptions(int beamSize, int maxTargetTokens, double lengthPenalty) {
    public DecodingOptions {
        if (beamSize < 1 || maxTargetTokens < 1 || !(lengthPenalty >= 0)) {
            throw new IllegalArgumentException("beam size and maximum length should be positive: were " + beamSize
                    + " and " + maxTargetTokens + ", length penalty " + lengthPenalty);
        }
    }
}
