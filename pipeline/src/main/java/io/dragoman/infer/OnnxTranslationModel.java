package io.dragoman.infer;

import ai.djl.Device;
import ai.djl.MalformedModelException;
import ai.djl.Model;
import ai.djl.engine.Engine;
import ai.djl.inference.Predictor;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractSymbolBlock;
import ai.djl.translate.Batchifier;
import ai.djl.translate.TranslateException;
import ai.djl.translate.Translator;
import ai.djl.translate.TranslatorContext;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.dragoman.batch.PaddedBatch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.jspecify.annotations.Nullable;

/**
 * A bundle's graph on ONNX Runtime through DJL: encoder, attention and the whole beam search are one graph, one run for
 * each batch.
 *
 * <p>Threading: the session is shared; every calling thread borrows a predictor of its own. One caller's run uses
 * {@code threads} cores.
 *
 * <p>Ownership: {@link #open} loads the session, {@link #close} frees it.
 */
public final class OnnxTranslationModel implements TranslationModel {
    private static final Set<String> INPUTS =
            Set.of("source_ids", "source_mask", "target_prefix", "max_target_length", "beam_size");
    private static final String ENGINE = "OnnxRuntime";

    private record Request(PaddedBatch batch, List<long[]> prefixes, DecodingOptions options) {}

    private final BundleManifest manifest;
    private final Model model;
    private final ConcurrentLinkedQueue<Predictor<Request, DecodedSteps>> idle = new ConcurrentLinkedQueue<>();

    private OnnxTranslationModel(BundleManifest manifest, Model model) {
        this.manifest = manifest;
        this.model = model;
    }

    /**
     * Where the graph runs.
     *
     * @param gpu the CUDA device, or null for the CPU
     * @param threads cores one run uses on the CPU
     */
    public record Placement(@Nullable Integer gpu, int threads) {
        public static final Placement CPU = new Placement(null, 1);
    }

    /**
     * Loads a checked bundle's graph and holds it against the contract.
     *
     * @throws BundleException when the graph cannot be loaded or does not fit the manifest
     */
    public static OnnxTranslationModel open(Bundle bundle, Placement placement) throws BundleException {
        Engine.getEngine(ENGINE); // before OrtEnvironment is touched, or DJL breaks
        Model model = Model.newInstance(bundle.manifest().name(), Device.cpu(), ENGINE);
        try {
            OrtSession.SessionOptions options = new OrtSession.SessionOptions();
            options.setIntraOpNumThreads(placement.threads());
            options.setInterOpNumThreads(1);
            options.setSessionLogLevel(ai.onnxruntime.OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
            Integer gpu = placement.gpu();
            if (gpu != null) {
                options.addCUDA(gpu);
            }
            model.load(bundle.folder(), Bundle.MODEL, Map.of("sessionOptions", options));
        } catch (IOException | MalformedModelException | OrtException | RuntimeException | LinkageError e) {
            model.close();
            throw new BundleException(bundle.folder(), List.of(Bundle.MODEL + " cannot be loaded: " + rootMessage(e)));
        }
        List<String> faults = checkGraph(bundle.manifest(), model);
        if (!faults.isEmpty()) {
            model.close();
            throw new BundleException(bundle.folder(), faults);
        }
        return new OnnxTranslationModel(bundle.manifest(), model);
    }

    private static String rootMessage(Throwable e) {
        Throwable root = e;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return String.valueOf(root.getMessage());
    }

    private static List<String> checkGraph(BundleManifest manifest, Model model) {
        List<String> faults = new ArrayList<>();
        AbstractSymbolBlock block = (AbstractSymbolBlock) model.getBlock();
        Set<String> inputs = new TreeSet<>(block.describeInput().keys());
        if (!inputs.equals(INPUTS)) {
            faults.add("the graph's inputs should be " + new TreeSet<>(INPUTS) + ": were " + inputs);
        }
        Map<String, String> metadata = block.getCustomMetadata();
        expect(faults, metadata, "dragoman.format_version", String.valueOf(manifest.formatVersion()));
        expect(
                faults,
                metadata,
                "dragoman.vocabulary_sha256",
                manifest.vocabulary().sha256());
        return faults;
    }

    private static void expect(List<String> faults, Map<String, String> metadata, String key, String value) {
        if (!value.equals(metadata.get(key))) {
            faults.add("the graph's " + key + " should be " + value + ": was " + metadata.get(key));
        }
    }

    @Override
    public BundleManifest manifest() {
        return manifest;
    }

    @Override
    public List<List<Hypothesis>> decode(PaddedBatch batch, List<long[]> prefixes, DecodingOptions options) {
        if (prefixes.size() != batch.rows()) {
            throw new IllegalArgumentException("there should be a prefix, possibly empty, for each row");
        }
        Predictor<Request, DecodedSteps> predictor = idle.poll();
        if (predictor == null) {
            predictor = model.newPredictor(new GraphTranslator());
        }
        DecodedSteps steps;
        try {
            steps = predictor.predict(new Request(batch, prefixes, options));
        } catch (TranslateException | RuntimeException e) {
            throw new ModelException("ONNX Runtime: " + rootMessage(e), e);
        } finally {
            idle.add(predictor);
        }
        List<List<Hypothesis>> found = new ArrayList<>(batch.rows());
        for (int row = 0; row < batch.rows(); row++) {
            int length = batch.sentence(row).length();
            int limit = manifest.limits().steps(length, options.maxTargetTokens(), prefixes.get(row).length);
            found.add(steps.hypotheses(row, length, limit, manifest.specialIds().end(), options.lengthPenalty()));
        }
        return found;
    }

    @Override
    public void close() {
        for (Predictor<Request, DecodedSteps> predictor : idle) {
            predictor.close();
        }
        idle.clear();
        model.close();
    }

    /** The batch is already a batch: arrays in, arrays out, nothing is stacked by DJL. */
    private static final class GraphTranslator implements Translator<Request, DecodedSteps> {
        @Override
        public @Nullable Batchifier getBatchifier() {
            return null;
        }

        @Override
        public NDList processInput(TranslatorContext context, Request request) {
            NDManager manager = context.getNDManager();
            PaddedBatch batch = request.batch();
            int forced =
                    request.prefixes().stream().mapToInt(p -> p.length).max().orElse(0);
            long[] prefix = new long[batch.rows() * forced];
            java.util.Arrays.fill(prefix, -1);
            for (int row = 0; row < batch.rows(); row++) {
                long[] ids = request.prefixes().get(row);
                System.arraycopy(ids, 0, prefix, row * forced, ids.length);
            }
            Shape shape = new Shape(batch.rows(), batch.width());
            context.setAttachment("width", batch.width());
            return new NDList(
                    named(manager, "source_ids", batch.ids(), shape),
                    named(manager, "source_mask", batch.mask(), shape),
                    named(manager, "target_prefix", prefix, new Shape(batch.rows(), forced)),
                    named(
                            manager,
                            "max_target_length",
                            new long[] {request.options().maxTargetTokens()},
                            new Shape()),
                    named(manager, "beam_size", new long[] {request.options().beamSize()}, new Shape()));
        }

        /** Direct and in native order, so that ONNX Runtime uses the memory as it is. */
        private static NDArray named(NDManager manager, String name, long[] values, Shape shape) {
            LongBuffer buffer = ByteBuffer.allocateDirect(values.length * Long.BYTES)
                    .order(ByteOrder.nativeOrder())
                    .asLongBuffer();
            buffer.put(values).rewind();
            NDArray array = manager.create(buffer, shape, DataType.INT64);
            array.setName(name);
            return array;
        }

        @Override
        public DecodedSteps processOutput(TranslatorContext context, NDList outputs) {
            NDArray tokens = outputs.get("tokens");
            NDArray attention = outputs.get("attention");
            Shape shape = tokens.getShape();
            int width = (Integer) context.getAttachment("width");
            return new DecodedSteps(
                    Math.toIntExact(shape.get(0)),
                    Math.toIntExact(shape.get(1)),
                    Math.toIntExact(shape.get(2)),
                    width,
                    tokens.toLongArray(),
                    outputs.get("parents").toLongArray(),
                    outputs.get("log_probs").toFloatArray(),
                    attention == null ? new float[0] : attention.toFloatArray(),
                    outputs.get("scores").toFloatArray());
        }
    }
}
