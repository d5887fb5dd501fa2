package io.dragoman.topology;

import io.dragoman.batch.BatchLimits;
import io.dragoman.batch.Widths;
import io.dragoman.config.DragomanConfig;
import io.dragoman.config.LanguagePair;
import io.dragoman.config.TopicNames;
import io.dragoman.infer.Bundle;
import io.dragoman.infer.BundleException;
import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.DecodingOptions;
import io.dragoman.infer.ModelException;
import io.dragoman.infer.OnnxTranslationModel;
import io.dragoman.infer.TranslationModel;
import io.dragoman.infer.TranslationService;
import io.dragoman.infer.WarmUp;
import io.dragoman.ingest.AvroSourceDecoder;
import io.dragoman.ingest.SourceTextReader;
import io.dragoman.metrics.InstanceMetrics;
import io.dragoman.metrics.Meters;
import io.dragoman.metrics.Metric;
import io.dragoman.metrics.MetricsServer;
import io.dragoman.publish.OutputRecords;
import io.dragoman.publish.RecordEncoder;
import io.dragoman.tokenize.LengthPolicy;
import io.dragoman.tokenize.Segmenter;
import io.dragoman.tokenize.TokenizerPair;
import io.dragoman.wire.ConfluentFormat;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One running instance: its models, their workers, and the stream.
 *
 * <p>Life: {@link #open(DragomanConfig, Path)} loads the models and does no network; {@link #start} joins the group; {@link #close} finishes
 * what is in flight, commits, leaves the group and frees everything {@code open} made. When the model is broken or
 * threads die again and again the instance stops by itself: {@link #awaitStop} returns and {@link #fault} says why.
 */
public final class Pipeline implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Pipeline.class);
    /** Tokens; measured with the default bundle: a run of one sentence against its share of a full batch. */
    private static final int RUN_COST = 256;

    /** Of a batch, when its rows are not configured: with more, a beam of four was no faster. */
    private static final int HYPOTHESES = 192;
    /** Most sentences of a batch then: more made greedy search no faster. */
    private static final int ROWS = 64;

    private static final int HYPOTHESES_ON_GPU = 1024;
    /** Most padded tokens of a batch, when they are not configured. */
    private static final int TOKENS = 4096;

    private static final int TOKENS_ON_GPU = 16_384;
    /** Of a partition, for each sentence read ahead: less than one takes, because a thread reads several partitions. */
    private static final long FETCHED_BYTES = 64;
    /** So many polls bring {@code read.ahead.rows}: small ones, so that more is read while results are published. */
    private static final int POLLS = 4;

    private static final int THREAD_REPLACEMENTS = 10;
    /** How often is looked whether what was read is published, when the instance ends. */
    private static final Duration DRAIN_INTERVAL = Duration.ofMillis(10);
    /** For the last commit and for leaving the group, after the drain. */
    private static final Duration FAREWELL = Duration.ofSeconds(8);

    private final TopicNames topics;
    private final Map<LanguagePair, Route> routes;
    private final @Nullable ConfluentFormat registry;
    private final LookAhead lookAhead;
    private final InstanceMetrics metrics;
    private final String metricsHost;
    private final int metricsPort;
    /** From {@link #start} on, where one is wanted. */
    private volatile @Nullable MetricsServer server;

    private final Duration drain;
    private final KafkaStreams streams;
    private final boolean staticMember;
    private final AtomicReference<@Nullable String> fault = new AtomicReference<>();
    private final AtomicInteger replacements = new AtomicInteger();
    private final CountDownLatch running = new CountDownLatch(1);
    private final CountDownLatch stopped = new CountDownLatch(1);

    private Pipeline(DragomanConfig config, Map<LanguagePair, Route> routes, InstanceMetrics metrics) {
        this.metrics = metrics;
        this.metricsHost = config.string(DragomanConfig.METRICS_HOST);
        this.metricsPort = config.integer(DragomanConfig.METRICS_PORT);
        this.topics = config.topics();
        this.routes = routes;
        this.registry = registry(config);
        this.drain = config.millis(DragomanConfig.DRAIN_TIMEOUT_MS);
        this.lookAhead = new LookAhead(
                config.topics().sentences(),
                new Intake(reader(config, routes, registry), routes),
                config.millis(DragomanConfig.MODEL_TIMEOUT_MS),
                metrics.meters());
        Map<String, Object> settings = streamsSettings(config, lookAhead);
        this.staticMember = settings.containsKey("main.consumer.group.instance.id")
                || settings.containsKey("group.instance.id")
                || settings.containsKey("consumer.group.instance.id");
        this.streams = new KafkaStreams(
                TranslationTopology.build(
                        config.topics(),
                        lookAhead,
                        output(config, registry),
                        config.millis(DragomanConfig.MODEL_TIMEOUT_MS),
                        config.flag(DragomanConfig.COMMIT_WHEN_DRAINED),
                        metrics.meters()),
                new StreamsConfig(settings),
                new Clients(lookAhead, config.integer(DragomanConfig.READ_AHEAD_ROWS)));
        metrics.bind(streams);
        metrics.meters().watch(Metric.HEALTHY, () -> isHealthy() ? 1 : 0);
        streams.setUncaughtExceptionHandler(this::onException);
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) {
                running.countDown();
            }
            if (now == KafkaStreams.State.ERROR || now == KafkaStreams.State.NOT_RUNNING) {
                running.countDown();
                stopped.countDown();
            }
        });
    }

    /** What an instance loads before it needs its brokers; whoever has it closes it or opens a pipeline with it. */
    public static final class Models implements AutoCloseable {
        private final Map<LanguagePair, Route> routes;
        private final InstanceMetrics metrics;

        private Models(Map<LanguagePair, Route> routes, InstanceMetrics metrics) {
            this.routes = routes;
            this.metrics = metrics;
        }

        @Override
        public void close() {
            routes.values().forEach(Pipeline::closeRoute);
            metrics.close();
        }
    }

    /** {@link #load} and {@link #open(DragomanConfig, Models)} in one. */
    public static Pipeline open(DragomanConfig config, Path home) throws BundleException, IOException {
        return open(config, load(config, home));
    }

    /** Takes the models over, also when it fails. */
    public static Pipeline open(DragomanConfig config, Models models) {
        try {
            return new Pipeline(config, models.routes, models.metrics);
        } catch (RuntimeException e) {
            models.close();
            throw e;
        }
    }

    /**
     * Loads what the configuration names.
     *
     * @param home where bundles named without a path are looked for
     * @throws BundleException when a bundle cannot be used
     * @throws IOException when a tokenizer cannot be read
     */
    public static Models load(DragomanConfig config, Path home) throws BundleException, IOException {
        Map<LanguagePair, Route> routes = new LinkedHashMap<>();
        InstanceMetrics metrics = new InstanceMetrics();
        try {
            for (String name : config.list(DragomanConfig.BUNDLES)) {
                Bundle bundle = Bundle.open(bundleFolder(home, name));
                Route route = route(config, bundle, metrics.meters());
                Route before = routes.put(pair(bundle.manifest()), route);
                if (before != null) {
                    closeRoute(before);
                    throw new ConfigException(
                            DragomanConfig.BUNDLES, name, "two bundles translate " + pair(bundle.manifest()));
                }
            }
            return new Models(routes, metrics);
        } catch (BundleException | IOException | RuntimeException e) {
            new Models(routes, metrics).close();
            throw e;
        }
    }

    /** Where bundles named without a path are. */
    public static Path bundlesFolder(Path home) {
        return home.resolve("model-export").resolve("bundles");
    }

    /** The folder a bundle's name stands for: itself when it is a path, otherwise one that comes with Dragoman. */
    public static Path bundleFolder(Path home, String name) {
        return name.matches("[A-Za-z0-9_.-]+") && !Path.of(name).toFile().isDirectory()
                ? bundlesFolder(home).resolve(name)
                : Path.of(name);
    }

    private static LanguagePair pair(BundleManifest manifest) {
        return new LanguagePair(
                manifest.languages().source(), manifest.languages().target());
    }

    private static Route route(DragomanConfig config, Bundle bundle, Meters meters)
            throws BundleException, IOException {
        checkFit(config, bundle.manifest());
        TranslationModel model = OnnxTranslationModel.open(
                bundle, placement(config), config.millis(DragomanConfig.MODEL_RUN_TIMEOUT_MS));
        try {
            BatchLimits limits = batchLimits(config, bundle.manifest());
            if (config.gpu() != null) {
                warmUp(model, options(config, bundle.manifest()), limits, bundle);
            }
            TokenizerPair tokenizers = bundle.openTokenizers();
            return new Route(
                    tokenizers,
                    segmenter(config, tokenizers, bundle.manifest()),
                    new TranslationService(
                            model,
                            options(config, bundle.manifest()),
                            limits,
                            workers(config),
                            config.integer(DragomanConfig.MODEL_FAILURE_LIMIT),
                            meters));
        } catch (BundleException | IOException | RuntimeException e) {
            model.close();
            throw e;
        }
    }

    private static void warmUp(TranslationModel model, DecodingOptions options, BatchLimits limits, Bundle bundle)
            throws BundleException {
        try {
            WarmUp.run(model, options, limits);
        } catch (ModelException e) {
            throw new BundleException(bundle.folder(), List.of(String.valueOf(e.getMessage())));
        }
    }

    private static Segmenter segmenter(DragomanConfig config, TokenizerPair tokenizers, BundleManifest manifest) {
        return new Segmenter(
                tokenizers.source(),
                manifest.languages().source(),
                new Segmenter.Limits(
                        LengthPolicy.valueOf(
                                config.string(DragomanConfig.TEXT_LENGTH_POLICY).toUpperCase(Locale.ROOT)),
                        manifest.name(),
                        manifest.limits().maxSourceTokens(),
                        config.integer(DragomanConfig.TEXT_MAX_TOKENS)));
    }

    private static void checkFit(DragomanConfig config, BundleManifest manifest) {
        List<String> faults = new ArrayList<>();
        int tokens = batchTokens(config);
        if (tokens < manifest.limits().maxSourceTokens()) {
            faults.add(DragomanConfig.BATCH_MAX_TOKENS + " should be at least the longest source of " + manifest.name()
                    + " (" + manifest.limits().maxSourceTokens() + "): was " + tokens);
        }
        int beam = options(config, manifest).beamSize();
        int best = config.integer(DragomanConfig.MODEL_N_BEST);
        if (best > beam) {
            faults.add(DragomanConfig.MODEL_N_BEST + " should be at most the beam size (" + beam + "): was " + best);
        }
        if (!faults.isEmpty()) {
            throw new ConfigException(String.join("\n", faults));
        }
    }

    /** The configured search, or the bundle's own. */
    public static DecodingOptions options(DragomanConfig config, BundleManifest manifest) {
        DecodingOptions own = manifest.defaultOptions();
        int beam = config.integer(DragomanConfig.MODEL_BEAM_SIZE);
        int beamSize = beam == 0 ? own.beamSize() : beam;
        return new DecodingOptions(
                beamSize,
                Math.min(config.integer(DragomanConfig.MODEL_N_BEST), beamSize),
                own.maxTargetTokens(),
                own.lengthPenalty());
    }

    public static BatchLimits batchLimits(DragomanConfig config, BundleManifest manifest) {
        return new BatchLimits(
                batchRows(config, options(config, manifest).beamSize()),
                batchTokens(config),
                config.millis(DragomanConfig.BATCH_LINGER_MS),
                config.integer(DragomanConfig.BATCH_WINDOW_ROWS),
                runCost(config),
                config.millis(DragomanConfig.PRIORITY_ALLOWANCE_MS),
                config.gpu() != null ? new Widths(true, manifest.limits().maxSourceTokens()) : Widths.EXACT);
    }

    /** Where a configuration has its models run. */
    public static OnnxTranslationModel.Placement placement(DragomanConfig config) {
        Integer device = config.gpu();
        long memory = config.integer(DragomanConfig.MODEL_CUDA_MEMORY_MB) * 1_000_000L;
        return new OnnxTranslationModel.Placement(
                device == null ? null : new OnnxTranslationModel.Gpu(device, memory),
                config.integer(DragomanConfig.MODEL_THREADS),
                device == null ? workers(config) : 1);
    }

    private static int batchTokens(DragomanConfig config) {
        int tokens = config.integer(DragomanConfig.BATCH_MAX_TOKENS);
        if (tokens > 0) {
            return tokens;
        }
        return config.gpu() != null ? TOKENS_ON_GPU : TOKENS;
    }

    private static int batchRows(DragomanConfig config, int beam) {
        int rows = config.integer(DragomanConfig.BATCH_MAX_ROWS);
        if (rows > 0) {
            return rows;
        }
        return config.gpu() != null
                ? Math.max(1, HYPOTHESES_ON_GPU / beam)
                : Math.max(1, Math.min(ROWS, HYPOTHESES / beam));
    }

    private static int runCost(DragomanConfig config) {
        int cost = config.integer(DragomanConfig.BATCH_RUN_COST_TOKENS);
        if (cost > 0) {
            return cost;
        }
        return config.gpu() != null ? batchTokens(config) : RUN_COST;
    }

    public static int workers(DragomanConfig config) {
        int workers = config.integer(DragomanConfig.MODEL_WORKERS);
        if (workers > 0) {
            return workers;
        }
        int threads = config.integer(DragomanConfig.MODEL_THREADS);
        return config.gpu() != null ? 1 : Math.max(1, Runtime.getRuntime().availableProcessors() / threads);
    }

    private static @Nullable ConfluentFormat registry(DragomanConfig config) {
        String url = config.string(DragomanConfig.SCHEMA_REGISTRY_URL);
        return url.isEmpty()
                ? null
                : new ConfluentFormat(
                        url,
                        config.secret(DragomanConfig.BASIC_AUTH_USER_INFO),
                        config.flag(DragomanConfig.AUTO_REGISTER_SCHEMAS));
    }

    private static SourceTextReader reader(
            DragomanConfig config, Map<LanguagePair, Route> routes, @Nullable ConfluentFormat registry) {
        LanguagePair first = routes.keySet().iterator().next();
        String source = config.string(DragomanConfig.SOURCE_LANGUAGE);
        String target = config.string(DragomanConfig.TARGET_LANGUAGE);
        return new SourceTextReader(
                SourceTextReader.Format.valueOf(
                        config.string(DragomanConfig.INPUT_FORMAT).toUpperCase(Locale.ROOT)),
                registry == null ? AvroSourceDecoder.SINGLE_OBJECT : AvroSourceDecoder.confluent(registry),
                new LanguagePair(
                        source.isEmpty() ? first.source() : source, target.isEmpty() ? first.target() : target),
                routes.keySet(),
                config.integer(DragomanConfig.TEXT_MAX_CHARACTERS));
    }

    private static OutputRecords output(DragomanConfig config, @Nullable ConfluentFormat registry) {
        return new OutputRecords(new OutputRecords.Settings(
                registry == null ? RecordEncoder.singleObject() : registry::encode,
                config.topics().translations(),
                config.topics().alignments(),
                config.topics().rejections(),
                config.string(DragomanConfig.ALIGNMENT_ENCODING),
                config.integer(DragomanConfig.ALIGNMENT_MAX_BYTES),
                config.integer(DragomanConfig.REJECTION_MAX_VALUE_BYTES),
                config.integer(DragomanConfig.MODEL_N_BEST)));
    }

    private static Map<String, Object> streamsSettings(DragomanConfig config, LookAhead lookAhead) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("consumer.auto.offset.reset", "earliest");
        settings.put("consumer.session.timeout.ms", "10000");
        settings.put("consumer.heartbeat.interval.ms", "3000");
        settings.put("consumer.max.poll.interval.ms", "300000");
        int readAhead = config.integer(DragomanConfig.READ_AHEAD_ROWS);
        settings.put("consumer.max.poll.records", String.valueOf(Math.max(1, readAhead / POLLS)));
        settings.put("consumer.max.partition.fetch.bytes", String.valueOf(fetchedBytes(readAhead)));
        settings.put("producer.transaction.timeout.ms", "60000");
        settings.put("producer.compression.type", "lz4");
        // Between two commits a partition gets more than the usual 16 KiB: each part of it would be a request of its
        // own.
        settings.put("producer.batch.size", "131072");
        if (config.string(DragomanConfig.PROCESSING_GUARANTEE).equals(StreamsConfig.EXACTLY_ONCE_V2)) {
            // Nobody sees a record before its transaction commits: they leave together then, in one request.
            settings.put(
                    "producer.linger.ms", String.valueOf(linger(config.integer(DragomanConfig.COMMIT_INTERVAL_MS))));
        }
        settings.put("enable.metrics.push", "false");
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, readAhead);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, config.integer(DragomanConfig.STREAM_THREADS));
        settings.put(StreamsConfig.POLL_MS_CONFIG, "50");
        // A task has one partition, and none to wait for so that their records merge by time.
        settings.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, StreamsConfig.MAX_TASK_IDLE_MS_DISABLED);
        settings.putAll(config.kafka());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, config.list(DragomanConfig.BOOTSTRAP_SERVERS));
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, config.string(DragomanConfig.APPLICATION_ID));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, config.string(DragomanConfig.STATE_DIR));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, config.string(DragomanConfig.PROCESSING_GUARANTEE));
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, config.integer(DragomanConfig.COMMIT_INTERVAL_MS));
        settings.put("main.consumer.interceptor.classes", LookAheadInterceptor.class.getName());
        settings.put("main.consumer." + LookAheadInterceptor.LOOK_AHEAD, lookAhead);
        return settings;
    }

    /**
     * Of a partition at once, so that {@code readAhead} sentences of all that a thread has are there. No more than that: a
     * consumer hands out all it fetched of one partition before the next, and small fetches let partitions take turns.
     */
    static long fetchedBytes(int readAhead) {
        return Math.max(1 << 16, Math.min(1 << 20, readAhead * FETCHED_BYTES));
    }

    /** In milliseconds: the commit comes first; bounded, because a producer has to send and get its answer in two minutes. */
    static long linger(int commitInterval) {
        return Math.min(2L * commitInterval, 10_000);
    }

    private StreamThreadExceptionResponse onException(Throwable exception) {
        for (Throwable cause = exception; cause != null; cause = cause.getCause()) {
            if (cause instanceof ModelException) {
                return stop(String.valueOf(cause.getMessage()));
            }
        }
        if (replacements.incrementAndGet() <= THREAD_REPLACEMENTS) {
            LOG.warn("a stream thread died and is replaced: {}", exception.toString());
            metrics.meters().counter(Metric.REPLACED_THREADS).increment();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        }
        return stop("stream threads died " + replacements.get() + " times, the last time with: " + exception);
    }

    private StreamThreadExceptionResponse stop(String reason) {
        fault.compareAndSet(null, reason);
        LOG.error("stopping, nothing is committed beyond what was published: {}", reason);
        return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    }

    /**
     * Joins the group, serves the metrics where {@code metrics.port} says so, and returns at once.
     *
     * @throws IOException when the metrics cannot be served there
     * @throws io.dragoman.wire.RegistryException when there is a schema registry and it does not take the schemas
     */
    public void start() throws IOException {
        if (metricsPort > 0) {
            server = MetricsServer.start(
                    metricsHost,
                    metricsPort,
                    new MetricsServer.Told(
                            metrics::scrape,
                            () -> running.getCount() == 0,
                            () -> isHealthy() && streams.state() == KafkaStreams.State.RUNNING,
                            () -> fault.get() == null && stopped.getCount() > 0));
        }
        if (registry != null) {
            OutputRecords.schemas(topics).forEach(registry::prepare);
        }
        streams.start();
    }

    /** Waits until partitions are assigned; false when that took longer than {@code patience} or failed. */
    public boolean awaitRunning(Duration patience) throws InterruptedException {
        return running.await(patience.toMillis(), TimeUnit.MILLISECONDS)
                && streams.state().isRunningOrRebalancing();
    }

    /** Blocks until the stream stops, by {@link #close} or by a fault. */
    public void awaitStop() throws InterruptedException {
        stopped.await();
    }

    /** Why the instance stopped by itself. */
    public Optional<String> fault() {
        return Optional.ofNullable(fault.get());
    }

    /** Whether sentences are translated, or will be as soon as the group has settled. */
    public boolean isHealthy() {
        return fault.get() == null
                && streams.state().isRunningOrRebalancing()
                && routes.values().stream()
                        .allMatch(route -> route.service().fault().isEmpty());
    }

    /** RUNNING, REBALANCING and so on, in Kafka Streams' words. */
    public String state() {
        return streams.state().name();
    }

    /** Those it translates with, in the order of the bundles; each is closed with it. */
    public List<TranslationModel> models() {
        return routes.values().stream().map(route -> route.service().model()).toList();
    }

    /** What the models did since the start, one for each bundle. */
    public List<TranslationService.Totals> totals() {
        List<TranslationService.Totals> totals = new ArrayList<>();
        routes.values().forEach(route -> totals.add(route.service().totals()));
        return totals;
    }

    /** Everything this instance measures, in Prometheus' text format. */
    public String metrics() {
        return metrics.scrape();
    }

    /** How many sentences were read ahead and then left to another instance, which translates them again. */
    public long leftToOthers() {
        return lookAhead.forgotten();
    }

    /**
     * Finishes what was read, within {@code drain.timeout.ms}, commits, and leaves the group unless it is a static member.
     *
     * <p>A stream thread that is told to end drops what its consumer holds back: so it is told when nothing is any more.
     * When the time is up, pausing makes the threads stop after the record they are at, and end as cleanly as if they
     * were done.
     */
    @Override
    public void close() {
        long end = System.nanoTime() + drain.toNanos();
        lookAhead.stop();
        awaitPublished(end);
        Duration left = Duration.ofNanos(Math.max(0, end - System.nanoTime()));
        CompletableFuture.delayedExecutor(left.toMillis(), TimeUnit.MILLISECONDS)
                .execute(streams::pause);
        CloseOptions.GroupMembershipOperation membership = staticMember
                ? CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP
                : CloseOptions.GroupMembershipOperation.LEAVE_GROUP;
        streams.close(CloseOptions.timeout(left.plus(FAREWELL)).withGroupMembershipOperation(membership));
        routes.values().forEach(Pipeline::closeRoute);
        MetricsServer served = server;
        if (served != null) {
            served.close();
        }
        metrics.close();
    }

    private void awaitPublished(long end) {
        try {
            while (lookAhead.size() > 0 && streams.state().isRunningOrRebalancing() && System.nanoTime() < end) {
                Thread.sleep(DRAIN_INTERVAL.toMillis());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void closeRoute(Route route) {
        route.service().close();
        route.service().model().close();
        route.tokenizers().close();
    }
}
