package io.dragoman.infer;

import io.dragoman.batch.PaddedBatch;
import java.util.List;

/**
 * The port to a model. What must hold of every implementation: the answer for a sentence does not depend on the other
 * sentences of its batch, and padding gets no weight.
 *
 * <p>Threading: {@link #decode} may be called by many threads at once; {@link #close} only when no call is under way.
 */
public interface TranslationModel extends AutoCloseable {
    BundleManifest manifest();

    /**
     * Translates a batch.
     *
     * @param prefixes for each row the target ids it has to begin with, possibly none; a whole target with its end
     *     gives a forced alignment
     * @return for each row its hypotheses, best first, at least one and at most the beam size
     * @throws ModelException when the run fails; nothing is known then about any row
     */
    List<List<Hypothesis>> decode(PaddedBatch batch, List<long[]> prefixes, DecodingOptions options);

    @Override
    void close();
}
