package io.dragoman.infer;

import java.util.Optional;

/** One translation as ids. Immutable. */
public final class Hypothesis {
    private final long[] ids;
    private final float[] logProbs;
    private final Optional<AlignmentMatrix> attention;
    private final boolean truncated;

    /**
     * @param ids target ids, the end of sentence last unless {@code truncated}; copied
     * @param logProbs log-probability (natural logarithm) of each id; copied
     * @param attention one row for each id; empty for architectures without attention
     * @param truncated whether the length limit came before the end of the sentence
     */
    public Hypothesis(long[] ids, float[] logProbs, Optional<AlignmentMatrix> attention, boolean truncated) {
        if (ids.length != logProbs.length
                || attention.filter(a -> a.rows() != ids.length).isPresent()) {
            throw new IllegalArgumentException("every id should have a log-probability and an attention row");
        }
        this.ids = ids.clone();
        this.logProbs = logProbs.clone();
        this.attention = attention;
        this.truncated = truncated;
    }

    public long[] ids() {
        return ids.clone();
    }

    public float[] logProbs() {
        return logProbs.clone();
    }

    public int length() {
        return ids.length;
    }

    public Optional<AlignmentMatrix> attention() {
        return attention;
    }

    public boolean truncated() {
        return truncated;
    }

    /** Summed log-probability. */
    public double logProbability() {
        double sum = 0;
        for (float logProb : logProbs) {
            sum += logProb;
        }
        return sum;
    }

    /** Mean log-probability of a token; 0 for an empty hypothesis. */
    public double score() {
        return ids.length == 0 ? 0 : logProbability() / ids.length;
    }

    /** What hypotheses are ranked by: summed log-probability / length^penalty (Wu et al. 2016, section 7, with the length alone). */
    double rank(double lengthPenalty) {
        return logProbability() / Math.pow(Math.max(1, ids.length), lengthPenalty);
    }
}
