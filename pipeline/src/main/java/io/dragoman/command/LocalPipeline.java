package io.dragoman.command;

import io.dragoman.broker.EmbeddedBroker;
import io.dragoman.config.DragomanConfig;
import io.dragoman.infer.BundleException;
import io.dragoman.topology.Pipeline;
import io.dragoman.topology.Topics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.jspecify.annotations.Nullable;

/**
 * A broker, its topics and a pipeline in this JVM, in a folder that is deleted at the end, also when the JVM is told to end
 * by a signal.
 */
final class LocalPipeline implements AutoCloseable {
    private final Path folder;
    private final EmbeddedBroker broker;
    private final DragomanConfig config;
    private final StartUp startUp;
    private @Nullable Pipeline pipeline;
    private final Thread atShutdown;
    private boolean closed;

    private LocalPipeline(
            Path folder, EmbeddedBroker broker, Pipeline pipeline, DragomanConfig config, StartUp startUp) {
        this.startUp = startUp;
        this.folder = folder;
        this.broker = broker;
        this.pipeline = pipeline;
        this.config = config;
        this.atShutdown = new Thread(this::closeAtShutdown, "dragoman-shutdown");
    }

    /** Starts everything and waits until sentences can be sent; {@code settings} go over the defaults for this use. */
    static LocalPipeline start(Map<String, String> settings)
            throws IOException, BundleException, Topics.ClusterException, CommandException, InterruptedException {
        Path folder = Files.createTempDirectory("dragoman-");
        EmbeddedBroker broker = null;
        Pipeline.Models models = null;
        Pipeline pipeline = null;
        StartUp startUp = new StartUp();
        startUp.done("JVM and command line");
        try (Progress progress = Progress.of("starting the broker and loading the model")) {
            CompletableFuture<EmbeddedBroker> starting = CompletableFuture.supplyAsync(() -> startBroker(folder));
            Map<String, String> all = new HashMap<>();
            all.put(DragomanConfig.BOOTSTRAP_SERVERS, "127.0.0.1:1"); // known once the broker has started
            all.put(DragomanConfig.TOPIC_PARTITIONS, "4");
            all.put(DragomanConfig.STATE_DIR, folder.resolve("state").toString());
            all.putAll(settings);
            models = Pipeline.load(DragomanConfig.of(all), Home.path());
            startUp.done("model, while the broker starts");
            broker = join(starting);
            startUp.done("broker, the rest");
            all.put(DragomanConfig.BOOTSTRAP_SERVERS, broker.bootstrapServers());
            DragomanConfig config = DragomanConfig.of(all);
            Topics.create(config);
            startUp.done("topics");
            Pipeline.Models loaded = models;
            models = null; // the pipeline's from now on
            pipeline = Pipeline.open(config, loaded);
            run(pipeline);
            startUp.done("pipeline, until it has its partitions");
            LocalPipeline started = new LocalPipeline(folder, broker, pipeline, config, startUp);
            Runtime.getRuntime().addShutdownHook(started.atShutdown);
            return started;
        } catch (IOException
                | BundleException
                | Topics.ClusterException
                | CommandException
                | InterruptedException
                | RuntimeException e) {
            if (models != null) {
                models.close();
            }
            close(folder, broker, pipeline);
            throw e;
        }
    }

    private static void run(Pipeline pipeline) throws IOException, CommandException, InterruptedException {
        pipeline.start();
        if (!pipeline.awaitRunning(Duration.ofSeconds(60))) {
            throw new CommandException("the pipeline did not start within 60 s: it is " + pipeline.state()
                    + pipeline.fault().map(fault -> ", " + fault).orElse(""));
        }
    }

    /** What is sent from now on waits in its topic. */
    synchronized void stop() {
        pipeline().close();
        pipeline = null;
    }

    /** Goes on after {@link #stop}; returns once sentences are read. */
    synchronized void resume() throws IOException, BundleException, CommandException, InterruptedException {
        Pipeline opened = Pipeline.open(config, Home.path());
        pipeline = opened;
        run(opened);
    }

    private static EmbeddedBroker startBroker(Path folder) {
        try {
            return EmbeddedBroker.start(folder.resolve("broker"), 0);
        } catch (IOException e) {
            throw new CompletionException(e);
        }
    }

    private static EmbeddedBroker join(CompletableFuture<EmbeddedBroker> starting) throws IOException {
        try {
            return starting.join();
        } catch (CompletionException e) {
            if (e.getCause() instanceof IOException io) {
                throw io;
            }
            throw e;
        }
    }

    /** What was done last is that the pipeline has its partitions. */
    StartUp startUp() {
        return startUp;
    }

    DragomanConfig config() {
        return config;
    }

    /** Running, unless it was stopped. */
    synchronized Pipeline pipeline() {
        return Objects.requireNonNull(pipeline, "stopped");
    }

    String bootstrapServers() {
        return broker.bootstrapServers();
    }

    @Override
    public void close() throws IOException {
        closeOnce();
        try {
            Runtime.getRuntime().removeShutdownHook(atShutdown);
        } catch (IllegalStateException e) {
            return; // the JVM is ending already
        }
    }

    /** A second caller waits for the first. */
    private synchronized void closeOnce() throws IOException {
        if (!closed) {
            closed = true;
            close(folder, broker, pipeline);
        }
    }

    private void closeAtShutdown() {
        try {
            closeOnce();
        } catch (IOException e) {
            System.err.println("dragoman: " + folder + " could not be deleted: " + e.getMessage());
        }
    }

    private static void close(Path folder, @Nullable EmbeddedBroker broker, @Nullable Pipeline pipeline)
            throws IOException {
        if (pipeline != null) {
            pipeline.close();
        }
        if (broker != null) {
            broker.close();
        }
        Home.deleteTree(folder);
    }
}
