package io.dragoman.infer;

import io.dragoman.batch.BatchLimits;
import io.dragoman.batch.PaddedBatch;
import io.dragoman.tokenize.TokenSpan;
import io.dragoman.tokenize.TokenizedText;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs every shape of batch once before the first sentence comes: a GPU loads its kernels when they are first needed, and
 * ONNX Runtime's arena asks for memory when it first lacks it, which takes seconds.
 */
public final class WarmUp {
    private static final Logger LOG = LoggerFactory.getLogger(WarmUp.class);
    /** Of every width; the widest batch runs to its end, so that memory has been as full as it gets. */
    private static final int STEPS = 4;

    private WarmUp() {}

    /**
     * A full batch of each width that {@code limits} have.
     *
     * @throws ModelException when the largest batches do not fit into the device's memory, for one
     */
    public static void run(TranslationModel model, DecodingOptions options, BatchLimits limits) {
        long start = System.nanoTime();
        List<Integer> widths = limits.widths().all();
        for (int width : widths) {
            boolean last = width == limits.widths().widest();
            int rows = Math.max(1, Math.min(limits.rows(), limits.paddedTokens() / width));
            int steps = last ? options.maxTargetTokens() : Math.min(STEPS, options.maxTargetTokens());
            decode(
                    model,
                    rows,
                    width,
                    new DecodingOptions(options.beamSize(), options.best(), steps, options.lengthPenalty()));
        }
        LOG.info(
                "warmed up {} with {} shapes of batches in {} ms",
                model.manifest().name(),
                widths.size(),
                Duration.ofNanos(System.nanoTime() - start).toMillis());
    }

    /** The same token again and again, on both sides: nothing ends before its last step. */
    private static void decode(TranslationModel model, int rows, int width, DecodingOptions options) {
        BundleManifest manifest = model.manifest();
        long[] ids = new long[width];
        java.util.Arrays.fill(ids, manifest.vocabulary().sourceSize() - 1L);
        List<TokenSpan> spans = Collections.nCopies(width, new TokenSpan("", 0, 0));
        TokenizedText text = new TokenizedText("", ids, spans, false);
        long[] prefix = new long[options.maxTargetTokens() - 1];
        java.util.Arrays.fill(prefix, manifest.vocabulary().targetSize() - 1L);
        PaddedBatch batch = new PaddedBatch(
                Collections.nCopies(rows, text), manifest.specialIds().pad());
        try {
            model.decode(batch, Collections.nCopies(rows, prefix), options);
        } catch (ModelException e) {
            throw new ModelException(
                    "a batch of " + rows + " sentences of " + width + " tokens, beam " + options.beamSize()
                            + ", cannot be run: " + e.getMessage() + "; lower batch.max.rows or batch.max.tokens,"
                            + " or give the model more memory",
                    e);
        }
    }
}
