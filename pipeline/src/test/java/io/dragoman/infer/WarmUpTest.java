package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.dragoman.batch.BatchLimits;
import io.dragoman.batch.PaddedBatch;
import io.dragoman.batch.Widths;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class WarmUpTest {
    private static final DecodingOptions BEAM_2 = new DecodingOptions(2, 12, 0.5);

    private static BatchLimits limits(int widest) {
        return new BatchLimits(20, 100, Duration.ZERO, 512, 100, Duration.ZERO, new Widths(true, widest));
    }

    /** What a model was asked: rows x width, steps. */
    private record Asked(TranslationModel model, List<String> runs) implements TranslationModel {
        @Override
        public BundleManifest manifest() {
            return model.manifest();
        }

        @Override
        public List<List<Hypothesis>> decode(PaddedBatch batch, List<long[]> prefixes, DecodingOptions options) {
            List<List<Hypothesis>> found = model.decode(batch, prefixes, options);
            int steps = found.stream()
                    .mapToInt(hypotheses -> hypotheses.get(0).length())
                    .max()
                    .orElse(0);
            runs.add(batch.rows() + " x " + batch.width() + ", " + steps);
            return found;
        }

        @Override
        public void close() {
            model.close();
        }
    }

    @Test
    void shouldRunAFullBatchOfEachWidthAndTheWidestToItsEnd() throws Exception {
        Bundle bundle = Bundle.open(TinyBundles.folder("attending"));
        List<String> runs = new ArrayList<>();
        try (TranslationModel model =
                new Asked(OnnxTranslationModel.open(bundle, OnnxTranslationModel.Placement.CPU), runs)) {
            WarmUp.run(model, BEAM_2, limits(20));
        }
        assertEquals(List.of("12 x 8, 4", "8 x 12, 4", "6 x 16, 4", "5 x 20, 12"), runs);
    }

    @Test
    void shouldFailWhenABatchDoesNotFit() {
        TranslationModel full = FakeTranslationModel.echo().failingOn(text -> true);
        ModelException failed = assertThrows(ModelException.class, () -> WarmUp.run(full, BEAM_2, limits(20)));
        assertEquals(
                "a batch of 12 sentences of 8 tokens, beam 2, cannot be run: no answer for poison; lower batch.max.rows or"
                        + " batch.max.tokens, or give the model more memory",
                failed.getMessage());
    }
}
