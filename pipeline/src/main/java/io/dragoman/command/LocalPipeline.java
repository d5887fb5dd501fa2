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
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** A broker, its topics and a pipeline in this JVM, in a folder that is deleted at the end. */
final class LocalPipeline implements AutoCloseable {
    private final Path folder;
    private final EmbeddedBroker broker;
    private final Pipeline pipeline;
    private final DragomanConfig config;

    private LocalPipeline(Path folder, EmbeddedBroker broker, Pipeline pipeline, DragomanConfig config) {
        this.folder = folder;
        this.broker = broker;
        this.pipeline = pipeline;
        this.config = config;
    }

    /** Starts everything and waits until sentences can be sent; {@code settings} go over the defaults for this use. */
    static LocalPipeline start(Map<String, String> settings)
            throws IOException, BundleException, Topics.ClusterException, CommandException, InterruptedException {
        Path folder = Files.createTempDirectory("dragoman-");
        EmbeddedBroker broker = null;
        Pipeline pipeline = null;
        try (Progress progress = Progress.of("starting the broker and loading the model")) {
            CompletableFuture<EmbeddedBroker> starting = CompletableFuture.supplyAsync(() -> startBroker(folder));
            Map<String, String> all = new HashMap<>();
            all.put(DragomanConfig.BOOTSTRAP_SERVERS, "127.0.0.1:1"); // known once the broker has started
            all.put(DragomanConfig.TOPIC_PARTITIONS, "4");
            all.put(DragomanConfig.STATE_DIR, folder.resolve("state").toString());
            all.putAll(settings);
            broker = join(starting);
            all.put(DragomanConfig.BOOTSTRAP_SERVERS, broker.bootstrapServers());
            DragomanConfig config = DragomanConfig.of(all);
            Topics.create(config);
            pipeline = Pipeline.open(config, Home.path());
            pipeline.start();
            if (!pipeline.awaitRunning(Duration.ofSeconds(60))) {
                throw new CommandException("the pipeline did not start within 60 s: it is " + pipeline.state()
                        + pipeline.fault().map(fault -> ", " + fault).orElse(""));
            }
            return new LocalPipeline(folder, broker, pipeline, config);
        } catch (IOException
                | BundleException
                | Topics.ClusterException
                | CommandException
                | InterruptedException
                | RuntimeException e) {
            close(folder, broker, pipeline);
            throw e;
        }
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

    DragomanConfig config() {
        return config;
    }

    Pipeline pipeline() {
        return pipeline;
    }

    String bootstrapServers() {
        return broker.bootstrapServers();
    }

    @Override
    public void close() throws IOException {
        close(folder, broker, pipeline);
    }

    private static void close(
            Path folder,
            @org.jspecify.annotations.Nullable EmbeddedBroker broker,
            @org.jspecify.annotations.Nullable Pipeline pipeline)
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
