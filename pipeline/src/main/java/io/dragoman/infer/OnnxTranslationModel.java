package io.dragoman.infer;

import ai.djl.Device;
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
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.providers.OrtCUDAProviderOptions;
import io.dragoman.batch.PaddedBatch;
import io.dragoman.tokenize.TokenSpan;
import io.dragoman.tokenize.TokenizedText;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A bundle's graph on ONNX Runtime through DJL: encoder, attention and the whole beam search are one graph, one run for
 * each batch.
 *
 * <p>Threading: a calling thread borrows a predictor, and with it one of the sessions, for as long as a run takes; callers
 * beyond the number of sessions share them. One caller's run uses {@code threads} cores.
 *
 * <p>Ownership: {@link #open} loads the sessions, {@link #close} frees them.
 */
public final class OnnxTranslationModel implements TranslationModel {
    private static final Set<String> INPUTS =
            Set.of("source_ids", "source_mask", "target_prefix", "max_target_length", "beam_size");
    /** One more input: how many of the best hypotheses are wanted. Graphs made before it was one find all. */
    private static final String BEST = "best";

    private static final Set<String> OUTPUTS = Set.of("tokens", "parents", "log_probs", "scores");
    private static final String ENGINE = "OnnxRuntime";
    private static final String CUDA = "CUDAExecutionProvider";
    private static final String NEEDED_FOR_CUDA =
            "; model.device=cuda needs a device with its driver, CUDA's libraries and the build made with -Pgpu";
    private static final Duration NO_LIMIT = Duration.ofDays(365);
    private static final Executor LOADER = task -> new Thread(task, "dragoman-model-load").start();

    private record Request(PaddedBatch batch, List<long[]> prefixes, DecodingOptions options) {}

    /** A copy of the graph in memory: DJL's model and the session that it closes. */
    private record Loaded(Model model, OrtSession session) {}

    private final BundleManifest manifest;
    private final List<Loaded> copies;
    private final AtomicInteger predictors = new AtomicInteger();
    private final ConcurrentLinkedQueue<Predictor<Request, DecodedSteps>> idle = new ConcurrentLinkedQueue<>();

    private OnnxTranslationModel(BundleManifest manifest, List<Loaded> copies) {
        this.manifest = manifest;
        this.copies = List.copyOf(copies);
    }

    /**
     * A CUDA device.
     *
     * @param number from 0
     * @param memory most bytes that ONNX Runtime's arena takes of it; 0 for no limit
     */
    public record Gpu(int number, long memory) {}

    /**
     * Where the graph runs.
     *
     * @param gpu null for the CPU
     * @param threads cores one run uses on the CPU
     * @param sessions copies of the graph, each with weights and working memory of its own: runs of one session wait for
     *     each other at every allocation. One on a GPU, whose memory two sessions do not share well
     */
    public record Placement(@Nullable Gpu gpu, int threads, int sessions) {
        public static final Placement CPU = new Placement(null, 1, 1);

        public Placement {
            if (sessions < 1 || (gpu != null && sessions > 1)) {
                throw new IllegalArgumentException("there should be one session or, on a CPU, more: were " + sessions);
            }
        }
    }

    /** Without a limit on how long a run may take. */
    public static OnnxTranslationModel open(Bundle bundle, Placement placement) throws BundleException {
        return open(bundle, placement, NO_LIMIT);
    }

    /**
     * Loads a checked bundle's graph and holds it against the contract.
     *
     * @param limit how long a run may take; one that takes longer is cut off and fails
     * @throws BundleException when the graph cannot be loaded or does not fit the manifest
     */
    public static OnnxTranslationModel open(Bundle bundle, Placement placement, Duration limit) throws BundleException {
        if (placement.gpu() == null) {
            return open(bundle, placement, limit, Path.of(""));
        }
        try {
            Path profiles = Files.createTempDirectory("dragoman-");
            try {
                return open(bundle, placement, limit, profiles);
            } finally {
                try (Stream<Path> left = Files.list(profiles)) {
                    for (Path file : left.toList()) {
                        Files.delete(file);
                    }
                }
                Files.delete(profiles);
            }
        } catch (IOException e) {
            throw new BundleException(bundle.folder(), List.of("its start cannot be profiled: " + e));
        }
    }

    private static OnnxTranslationModel open(Bundle bundle, Placement placement, Duration limit, Path profiles)
            throws BundleException {
        if (placement.gpu() != null && bundle.manifest().eightBits()) {
            throw new BundleException(
                    bundle.folder(),
                    List.of("8-bit products run on CPUs only: for a GPU make the bundle with --weights half"));
        }
        Engine.getEngine(ENGINE); // before OrtEnvironment is touched, or DJL breaks
        OnnxTranslationModel opened =
                new OnnxTranslationModel(bundle.manifest(), loadAll(bundle, placement, limit, profiles));
        List<String> faults = checkGraph(bundle.manifest(), opened.copies.get(0).model());
        if (faults.isEmpty()) {
            faults = opened.tryOut();
        }
        if (faults.isEmpty() && placement.gpu() != null) {
            faults = opened.placed(CUDA);
        }
        if (!faults.isEmpty()) {
            opened.close();
            throw new BundleException(bundle.folder(), faults);
        }
        return opened;
    }

    /** All copies, loaded side by side; none is left when one cannot be. */
    private static List<Loaded> loadAll(Bundle bundle, Placement placement, Duration limit, Path profiles)
            throws BundleException {
        List<CompletableFuture<Loaded>> loading = Stream.generate(
                        () -> CompletableFuture.supplyAsync(() -> load(bundle, placement, limit, profiles), LOADER))
                .limit(placement.sessions())
                .toList();
        List<Loaded> loaded = new ArrayList<>();
        Throwable fault = null;
        for (CompletableFuture<Loaded> one : loading) {
            try {
                loaded.add(one.join());
            } catch (CompletionException e) {
                fault = rootOf(e);
            }
        }
        if (fault != null) {
            new OnnxTranslationModel(bundle.manifest(), loaded).close();
            throw new BundleException(
                    bundle.folder(),
                    List.of(Bundle.MODEL + " cannot be loaded: " + fault.getMessage()
                            + (placement.gpu() == null ? "" : NEEDED_FOR_CUDA)));
        }
        return loaded;
    }

    private static Loaded load(Bundle bundle, Placement placement, Duration limit, Path profiles) {
        Model model = Model.newInstance(bundle.manifest().name(), Device.cpu(), ENGINE);
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(placement.threads());
            options.setInterOpNumThreads(1);
            // errors come back as exceptions: nothing is to be printed besides
            options.setSessionLogLevel(ai.onnxruntime.OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
            OrtSession session = session(bundle.folder().resolve(Bundle.MODEL), options, placement.gpu(), profiles);
            LimitedBlock block = new LimitedBlock(session, limit);
            model.getNDManager().attachInternal("graph", block);
            model.setBlock(block);
            return new Loaded(model, session);
        } catch (OrtException | RuntimeException | LinkageError e) {
            model.close();
            throw new CompletionException(e);
        }
    }

    private static OrtSession session(Path graph, OrtSession.SessionOptions options, @Nullable Gpu gpu, Path profiles)
            throws OrtException {
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        if (gpu == null) {
            return environment.createSession(graph.toString(), options);
        }
        try (OrtCUDAProviderOptions cuda = new OrtCUDAProviderOptions(gpu.number())) {
            if (gpu.memory() > 0) {
                cuda.add("gpu_mem_limit", String.valueOf(gpu.memory()));
            }
            cuda.add("use_tf32", "0"); // float32 is to be float32
            options.addCUDA(cuda);
            options.enableProfiling(profiles.resolve("start").toString());
            return environment.createSession(graph.toString(), options);
        }
    }

    /**
     * Runs a few steps and says what of the loop was not run by {@code provider}. Ends the profiling that the session was
     * opened with.
     */
    private List<String> placed(String provider) {
        try {
            probe();
            Map<String, Integer> elsewhere =
                    LoopPlacement.elsewhere(Path.of(copies.get(0).session().endProfiling()), provider);
            return elsewhere.isEmpty()
                    ? List.of()
                    : List.of("operators of the decoding loop that " + provider
                            + " does not run, and how many of each: " + elsewhere + "; every step would wait for them");
        } catch (OrtException | IOException | ModelException e) {
            return List.of("where the decoding loop runs cannot be told: " + e.getMessage());
        }
    }

    /** A run of several steps for {@link LoopPlacement}. */
    void probe() {
        BundleManifest.Vocabulary vocabulary = manifest.vocabulary();
        long source = vocabulary.sourceSize() - 1L;
        long target = vocabulary.targetSize() - 1L;
        TokenSpan span = new TokenSpan("", 0, 0);
        TokenizedText text = new TokenizedText("", new long[] {source, source}, List.of(span, span), false);
        PaddedBatch batch = new PaddedBatch(
                Collections.nCopies(LoopPlacement.ROWS, text),
                manifest.specialIds().pad());
        List<long[]> prefixes = Collections.nCopies(LoopPlacement.ROWS, new long[] {target, target});
        run(new Request(batch, prefixes, new DecodingOptions(2, 3, 0)));
    }

    private static Throwable rootOf(Throwable e) {
        Throwable root = e;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return root;
    }

    private static List<String> checkGraph(BundleManifest manifest, Model model) {
        List<String> faults = new ArrayList<>();
        AbstractSymbolBlock block = (AbstractSymbolBlock) model.getBlock();
        Set<String> inputs = new TreeSet<>(block.describeInput().keys());
        Set<String> others = new TreeSet<>(inputs);
        others.remove(BEST);
        if (!others.equals(INPUTS)) {
            faults.add("the graph's inputs should be " + new TreeSet<>(INPUTS) + " and perhaps " + BEST + ": were "
                    + inputs);
        }
        Map<String, String> metadata = block.getCustomMetadata();
        expect(faults, metadata, "dragoman.format_version", String.valueOf(manifest.formatVersion()));
        expect(
                faults,
                metadata,
                "dragoman.vocabulary_sha256",
                manifest.vocabulary().sha256());
        expectIfGiven(
                faults,
                metadata,
                "dragoman.source_vocabulary",
                manifest.vocabulary().sourceSize());
        expectIfGiven(
                faults,
                metadata,
                "dragoman.target_vocabulary",
                manifest.vocabulary().targetSize());
        return faults;
    }

    /** One step with the last id of each vocabulary: fails when the graph has fewer, and shows the graph's outputs. */
    private List<String> tryOut() {
        BundleManifest.Vocabulary vocabulary = manifest.vocabulary();
        long[] last = {vocabulary.sourceSize() - 1L};
        TokenizedText source = new TokenizedText("", last, List.of(new TokenSpan("", 0, 0)), false);
        PaddedBatch batch =
                new PaddedBatch(List.of(source), manifest.specialIds().pad());
        try {
            run(new Request(batch, List.of(new long[] {vocabulary.targetSize() - 1L}), new DecodingOptions(1, 1, 0)));
            return List.of();
        } catch (ModelException e) {
            return List.of("a step with the last of " + vocabulary.sourceSize() + " source and "
                    + vocabulary.targetSize() + " target ids should work: " + e.getMessage());
        }
    }

    private static void expect(List<String> faults, Map<String, String> metadata, String key, String value) {
        if (!value.equals(metadata.get(key))) {
            faults.add("the graph's " + key + " should be " + value + ": was " + metadata.get(key));
        }
    }

    private static void expectIfGiven(List<String> faults, Map<String, String> metadata, String key, int value) {
        if (metadata.containsKey(key)) {
            expect(faults, metadata, key, String.valueOf(value));
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
        DecodedSteps steps = run(new Request(batch, prefixes, options));
        List<List<Hypothesis>> found = new ArrayList<>(batch.rows());
        for (int row = 0; row < batch.rows(); row++) {
            int length = batch.sentence(row).length();
            int limit = manifest.limits().steps(length, options.maxTargetTokens(), prefixes.get(row).length);
            found.add(steps.hypotheses(row, length, limit, manifest.specialIds().end(), options));
        }
        return found;
    }

    private DecodedSteps run(Request request) {
        Predictor<Request, DecodedSteps> predictor = idle.poll();
        if (predictor == null) {
            Loaded next = copies.get(Math.floorMod(predictors.getAndIncrement(), copies.size()));
            predictor = next.model()
                    .newPredictor(new GraphTranslator(
                            manifest.attention().published(),
                            next.model().getBlock().describeInput().contains(BEST)));
        }
        try {
            return predictor.predict(request);
        } catch (TranslateException | RuntimeException e) {
            throw rootOf(e) instanceof ModelException own
                    ? own
                    : new ModelException("ONNX Runtime: " + rootOf(e).getMessage(), e);
        } finally {
            idle.add(predictor);
        }
    }

    @Override
    public void close() {
        // before its inputs' memory, which belongs to the predictors
        try {
            for (Loaded copy : copies) {
                ((LimitedBlock) copy.model().getBlock()).close();
            }
        } catch (OrtException e) {
            throw new ModelException("ONNX Runtime: " + e.getMessage(), e);
        }
        for (Predictor<Request, DecodedSteps> predictor : idle) {
            predictor.close();
        }
        idle.clear();
        copies.forEach(copy -> copy.model().close());
    }

    /** The batch is already a batch: arrays in, arrays out, nothing is stacked by DJL. */
    private static final class GraphTranslator implements Translator<Request, DecodedSteps> {
        private final boolean published;
        private final boolean best;

        /**
         * @param published whether the manifest says that there is attention
         * @param best whether the graph wants to know how many hypotheses are wanted
         */
        GraphTranslator(boolean published, boolean best) {
            this.published = published;
            this.best = best;
        }

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
            NDList inputs = new NDList(
                    named(manager, "source_ids", batch.ids(), shape),
                    named(manager, "source_mask", batch.mask(), shape),
                    named(manager, "target_prefix", prefix, new Shape(batch.rows(), forced)),
                    named(
                            manager,
                            "max_target_length",
                            new long[] {request.options().maxTargetTokens()},
                            new Shape()),
                    named(manager, "beam_size", new long[] {request.options().beamSize()}, new Shape()));
            if (best) {
                inputs.add(named(manager, BEST, new long[] {request.options().best()}, new Shape()));
            }
            return inputs;
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
            Set<String> expected = new TreeSet<>(OUTPUTS);
            if (published) {
                expected.add("attention");
            }
            Set<String> names = new TreeSet<>();
            outputs.forEach(output -> names.add(output.getName()));
            if (!names.equals(expected)) {
                throw new ModelException("the graph's outputs should be " + expected + ": were " + names);
            }
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
