package io.dragoman.infer;

import java.time.Duration;
import java.util.List;

/** What became of a sentence. */
public sealed interface Outcome {
    /**
     * @param hypotheses best first, at least one
     * @param queued from {@link TranslationService#submit} to the start of the batch that gave the answer
     * @param inference the run of that batch
     * @param batchSize sentences in it
     */
    record Translated(List<Hypothesis> hypotheses, Duration queued, Duration inference, int batchSize)
            implements Outcome {
        public Translated {
            hypotheses = List.copyOf(hypotheses);
        }

        public Hypothesis best() {
            return hypotheses.get(0);
        }
    }

    /** The model failed on this sentence alone. */
    record Failed(String explanation) implements Outcome {}
}
