package io.dragoman.command;

import io.dragoman.chaos.Soak;
import io.dragoman.config.DragomanConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "soak",
        description =
                "Gives an instance of its own far more than it can do and prints its memory over time; exit code 1"
                        + " when memory grows, the group rebalances or order is lost.",
        mixinStandardHelpOptions = true)
final class SoakCommand implements Callable<Integer> {
    @Option(
            names = "--minutes",
            paramLabel = "N",
            defaultValue = "10",
            description = "How long (default: ${DEFAULT-VALUE}).")
    private double minutes;

    @Option(
            names = "--backlog",
            paramLabel = "N",
            defaultValue = "100000",
            description = "Sentences that wait from the beginning on (default: ${DEFAULT-VALUE}).")
    private int backlog;

    @Option(
            names = "--rate",
            paramLabel = "R",
            defaultValue = "1000",
            description = "Sentences a second that come besides (default: ${DEFAULT-VALUE}).")
    private double rate;

    @Option(
            names = "--samples",
            paramLabel = "N",
            defaultValue = "40",
            description = "Lines of the curve (default: ${DEFAULT-VALUE}).")
    private int samples;

    @Option(names = "--bundle", defaultValue = "fr-en", description = "The model (default: ${DEFAULT-VALUE}).")
    private String bundle = "fr-en";

    @Option(names = "--set", paramLabel = "NAME=VALUE", description = "A setting of the instance; may be repeated.")
    private Map<String, String> settings = new HashMap<>();

    @Override
    public Integer call() throws Exception {
        if (!(minutes > 0) || backlog < 1 || !(rate > 0) || samples < 8) {
            throw new CommandException("--minutes, --backlog and --rate should be more than 0, --samples at least 8");
        }
        Path folder = Files.createTempDirectory("dragoman-soak-");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> ChaosCommand.delete(folder), "dragoman-cleanup"));
        Map<String, String> instance = new HashMap<>();
        instance.put(
                DragomanConfig.BUNDLES, Home.bundle(bundle).toAbsolutePath().toString());
        instance.putAll(settings);
        Soak.Settings all =
                new Soak.Settings(backlog, rate, Duration.ofMillis((long) (minutes * 60_000)), samples, instance);
        System.err.println("dragoman: starting a broker and an instance, and sending " + backlog + " sentences");
        Soak.Report report = Soak.run(Home.path().resolve("bin").resolve("dragoman"), folder, all, sample -> {
            System.out.println(sample);
            System.out.flush();
        });
        System.out.println(report);
        return report.good() ? 0 : 1;
    }
}
