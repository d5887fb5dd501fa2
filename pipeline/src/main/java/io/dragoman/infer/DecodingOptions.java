package io.dragoman.infer;

/**
 * How to search.
 *
 * @param beamSize hypotheses kept at each step; 1 is greedy
 * @param best finished hypotheses that are wanted, at most the beam size: the search of a sentence may stop when nothing
 *     can come among them any more, and they alone have attention
 * @param maxTargetTokens most steps; a sentence also stops at a multiple of its own length that the bundle states
 * @param lengthPenalty exponent of the length that a hypothesis's summed log-probability is divided by
 */
public record DecodingOptions(int beamSize, int best, int maxTargetTokens, double lengthPenalty) {
    public DecodingOptions {
        if (beamSize < 1 || maxTargetTokens < 1 || !(lengthPenalty >= 0)) {
            throw new IllegalArgumentException("beam size and maximum length should be positive: were " + beamSize
                    + " and " + maxTargetTokens + ", length penalty " + lengthPenalty);
        }
        if (best < 1 || best > beamSize) {
            throw new IllegalArgumentException(
                    "the best hypotheses should be 1 to the beam size, " + beamSize + ": were " + best);
        }
    }

    /** For all hypotheses. */
    public DecodingOptions(int beamSize, int maxTargetTokens, double lengthPenalty) {
        this(beamSize, beamSize, maxTargetTokens, lengthPenalty);
    }
}
