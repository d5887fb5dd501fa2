package io.dragoman.command;

import io.dragoman.config.DragomanConfig;
import io.dragoman.infer.TranslationService;
import io.dragoman.topology.Pipeline;
import io.dragoman.topology.Topics;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "run",
        description = "Runs the pipeline against a Kafka cluster until it is told to end (SIGTERM, Ctrl-C), then"
                + " finishes what is in flight, commits and leaves.",
        mixinStandardHelpOptions = true)
final class RunCommand implements Callable<Integer> {
    @Option(
            names = "--config",
            required = true,
            paramLabel = "FILE",
            description = "Settings, a properties file; `dragoman config` lists them.")
    private Path config = Path.of("dragoman.properties");

    @Option(names = "--set", paramLabel = "NAME=VALUE", description = "A setting over the file's; may be repeated.")
    private Map<String, String> overrides = new HashMap<>();

    @Option(
            names = "--health-file",
            paramLabel = "FILE",
            description = "A file that is renewed every 5 s while the pipeline is healthy, and removed when it is not.")
    private @Nullable Path healthFile;

    @Override
    public Integer call() throws Exception {
        Map<String, String> settings = PropertiesFile.read(config);
        settings.putAll(overrides);
        DragomanConfig checked = DragomanConfig.of(settings);
        Pipeline pipeline;
        try (Progress progress = Progress.of("connecting and loading the model")) {
            List<String> missing = Topics.missing(checked);
            if (!missing.isEmpty()) {
                throw new CommandException("topics are missing: " + String.join(", ", missing)
                        + "; make them with `dragoman topics create --config " + config + "`");
            }
            pipeline = Pipeline.open(checked, Home.path());
        }
        CountDownLatch closed = closeOnShutdown(pipeline);
        pipeline.start();
        try (Progress progress = Progress.of("joining the group")) {
            while (!pipeline.awaitRunning(Duration.ofSeconds(1))
                    && pipeline.fault().isEmpty()) {
                if (!pipeline.state().matches("CREATED|REBALANCING|RUNNING")) {
                    break;
                }
            }
        }
        if (pipeline.fault().isEmpty()) {
            System.out.println("dragoman: " + pipeline.state().toLowerCase(java.util.Locale.ROOT) + ", reading "
                    + checked.topics().sentences() + " from "
                    + String.join(",", checked.list(DragomanConfig.BOOTSTRAP_SERVERS)));
            System.out.flush();
        }
        try (HealthFile health = HealthFile.keep(healthFile, pipeline)) {
            pipeline.awaitStop();
        }
        if (pipeline.fault().isPresent()) {
            pipeline.close();
            throw new CommandException("stopped: " + pipeline.fault().get()
                    + "; nothing is lost, the sentences are taken up again when it runs");
        }
        closed.await();
        return 0;
    }

    private static void farewell(Pipeline pipeline) {
        long translated = pipeline.totals().stream()
                .mapToLong(TranslationService.Totals::sentences)
                .sum();
        System.out.println("dragoman: stopped, translated " + translated + " sentences, left " + pipeline.leftToOthers()
                + " that were read to others");
        System.out.flush();
    }

    /** On SIGTERM the JVM waits for the hook, and the hook for the drain. */
    private static CountDownLatch closeOnShutdown(Pipeline pipeline) {
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime()
                .addShutdownHook(new Thread(
                        () -> {
                            pipeline.close();
                            farewell(pipeline);
                            closed.countDown();
                        },
                        "dragoman-shutdown"));
        return closed;
    }
}
