package io.dragoman.command;

import io.dragoman.chaos.Chaos;
import io.dragoman.chaos.Result;
import io.dragoman.chaos.Scenario;
import io.dragoman.config.DragomanConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "chaos",
        description = "Kills, stops and restarts brokers and instances of its own under load and counts every sentence;"
                + " exit code 1 when one is lost, doubled or out of order.",
        mixinStandardHelpOptions = true)
final class ChaosCommand implements Callable<Integer> {
    @Option(
            names = "--scenario",
            split = ",",
            paramLabel = "NAME",
            description = "What to play: ${COMPLETION-CANDIDATES} (default: all; model-faults with --spoiled alone).")
    private @Nullable List<Scenario> scenarios;

    @Option(
            names = "--spoiled",
            paramLabel = "DIR",
            description = "A bundle made by `bin/model-export spoil`, for model-faults.")
    private @Nullable Path spoiled;

    @Option(
            names = "--kills",
            paramLabel = "N",
            defaultValue = "30",
            description = "Kills of an instance (default: ${DEFAULT-VALUE}).")
    private int kills;

    @Option(
            names = "--times",
            paramLabel = "N",
            defaultValue = "3",
            description = "How often other faults are repeated (default: ${DEFAULT-VALUE}).")
    private int times;

    @Option(
            names = "--rate",
            paramLabel = "R",
            defaultValue = "20",
            description = "Sentences a second (default: ${DEFAULT-VALUE}).")
    private double rate;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "1",
            description = "Of the random moments and victims (default: ${DEFAULT-VALUE}).")
    private long seed;

    @Option(
            names = "--brokers",
            paramLabel = "N",
            defaultValue = "3",
            description = "Brokers of the cluster (default: ${DEFAULT-VALUE}).")
    private int brokers;

    @Option(
            names = "--pause-seconds",
            paramLabel = "N",
            defaultValue = "25",
            description = "How long a stopped instance stands still (default: ${DEFAULT-VALUE}).")
    private int pauseSeconds;

    @Option(
            names = "--gone-seconds",
            paramLabel = "N",
            defaultValue = "60",
            description = "How long a broker stays away (default: ${DEFAULT-VALUE}).")
    private int goneSeconds;

    @Option(names = "--bundle", defaultValue = "fr-en", description = "The model (default: ${DEFAULT-VALUE}).")
    private String bundle = "fr-en";

    @Option(names = "--set", paramLabel = "NAME=VALUE", description = "A setting of the instances; may be repeated.")
    private Map<String, String> settings = new HashMap<>();

    @Option(
            names = "--keep",
            paramLabel = "DIR",
            description = "An empty folder for records, states and logs, left as it is (default: one that is deleted).")
    private @Nullable Path keep;

    @Override
    public Integer call() throws Exception {
        List<Scenario> played = scenarios == null
                ? Arrays.stream(Scenario.values())
                        .filter(scenario -> spoiled != null || !scenario.needsSpoiledBundle())
                        .toList()
                : scenarios;
        checkOptions(played);
        Path launcher = Home.path().resolve("bin").resolve("dragoman");
        Path folder = keep == null ? Files.createTempDirectory("dragoman-chaos-") : Files.createDirectories(keep);
        if (keep == null) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder), "dragoman-cleanup"));
        }
        Map<String, String> instance = new HashMap<>();
        instance.put(
                DragomanConfig.BUNDLES, Home.bundle(bundle).toAbsolutePath().toString());
        instance.put(DragomanConfig.MODEL_BEAM_SIZE, "1");
        instance.putAll(settings);
        Chaos.Settings all = new Chaos.Settings(
                seed,
                brokers,
                6,
                rate,
                kills,
                times,
                Duration.ofSeconds(pauseSeconds),
                Duration.ofSeconds(goneSeconds),
                instance,
                spoiled == null ? null : spoiled.toAbsolutePath());
        boolean faultless = true;
        try (Chaos chaos = Chaos.start(launcher, folder, all, ChaosCommand::tell)) {
            System.out.println(Result.HEADER);
            for (Scenario scenario : played) {
                Result result = chaos.play(scenario);
                System.out.println(result.row());
                System.out.flush();
                if (result.again() != 0) {
                    tell(scenario + ": " + result.again() + " sentences were translated again");
                }
                faultless &= result.faultless();
            }
        }
        return faultless ? 0 : 1;
    }

    private void checkOptions(List<Scenario> played) throws CommandException, IOException {
        if (kills < 1 || times < 1 || brokers < 1 || !(rate > 0) || pauseSeconds < 1 || goneSeconds < 1) {
            throw new CommandException(
                    "--kills, --times, --rate, --brokers, --pause-seconds and --gone-seconds should be"
                            + " more than 0");
        }
        if (brokers < 3 && played.stream().anyMatch(Scenario::needsReplicas)) {
            throw new CommandException(
                    "scenarios that take a broker away need --brokers 3: name others with --scenario");
        }
        if (played.stream().anyMatch(Scenario::needsSpoiledBundle)
                && (spoiled == null || !Files.isRegularFile(spoiled.resolve("bundle.json")))) {
            throw new CommandException("model-faults needs --spoiled DIR, a bundle made by `bin/model-export spoil"
                    + " model-export/bundles/fr-en --out DIR`" + (spoiled == null ? "" : ": " + spoiled + " is none"));
        }
        if (keep != null && Files.isDirectory(keep)) {
            try (var files = Files.list(keep)) {
                if (files.findAny().isPresent()) {
                    throw new CommandException("--keep " + keep + " should be empty or new");
                }
            }
        }
    }

    private static void tell(String line) {
        System.err.println("dragoman: " + line);
    }

    /** Runs at the JVM's end, beside the hook that ends the processes: what they still write is deleted again. */
    static void delete(Path folder) {
        for (int i = 0; i < 20; i++) {
            try {
                Home.deleteTree(folder);
                return;
            } catch (IOException e) {
                pause();
            }
        }
        System.err.println("dragoman: " + folder + " could not be deleted");
    }

    private static void pause() {
        try {
            Thread.sleep(100);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
