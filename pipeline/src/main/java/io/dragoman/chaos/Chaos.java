package io.dragoman.chaos;

import io.dragoman.config.DragomanConfig;
import io.dragoman.topology.Topics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Plays scenarios on a cluster of broker processes and counts every sentence.
 *
 * <p>Ownership: {@link #close} ends every process that was started, from a shutdown hook too; the folder stays the
 * caller's.
 */
public final class Chaos implements AutoCloseable {
    /** A SIGTERM ends a JVM with this. */
    private static final int TERMINATED = 143;

    /**
     * How much of everything.
     *
     * @param seed of the random moments and victims
     * @param rate sentences a second
     * @param kills of instances
     * @param times every other fault is repeated
     * @param pause how long an instance stands still: longer than its session timeout, 10 s
     * @param gone how long a broker stays away
     * @param instance settings of the instances, besides those that the scenarios make
     * @param spoiled a bundle made by {@code bin/model-export spoil}, for the scenario that needs one
     */
    public record Settings(
            long seed,
            int brokers,
            int partitions,
            double rate,
            int kills,
            int times,
            Duration pause,
            Duration gone,
            Map<String, String> instance,
            @Nullable Path spoiled) {
        public Settings {
            instance = Map.copyOf(instance);
        }
    }

    private final Settings settings;
    private final Path folder;
    private final Consumer<String> progress;
    private final Random random;
    private final Family family;
    private final Brokers brokers;

    private Chaos(Settings settings, Path folder, Consumer<String> progress, Family family, Brokers brokers) {
        this.settings = settings;
        this.folder = folder;
        this.progress = progress;
        this.random = new Random(settings.seed());
        this.family = family;
        this.brokers = brokers;
    }

    /**
     * Starts the brokers.
     *
     * @param launcher {@code bin/dragoman}
     * @param folder for their records, the instances' state, and a log of each process
     * @param progress takes a line about each fault
     */
    public static Chaos start(Path launcher, Path folder, Settings settings, Consumer<String> progress)
            throws IOException, InterruptedException, ChaosException {
        Family family = new Family(launcher, Files.createDirectories(folder.resolve("logs")));
        Runtime.getRuntime().addShutdownHook(new Thread(family::close, "dragoman-shutdown"));
        try {
            return new Chaos(settings, folder, progress, family, Brokers.start(family, folder, settings.brokers()));
        } catch (IOException | InterruptedException | ChaosException | RuntimeException e) {
            family.close();
            throw e;
        }
    }

    /** What a spoiled bundle does on which sentence; the same as in model_export/spoil.py. */
    private static final Map<String, String> POISON = new TreeMap<>(Map.of(
            "throws", "Le zoo est fermé.",
            "asks for more memory than there is", "La reine est morte.",
            "never ends", "Le chien aboie.",
            "gives no numbers", "Un oiseau chante."));

    private interface Act {
        void play(Stage stage) throws IOException, InterruptedException, ChaosException;
    }

    /** Plays one and says how it went. */
    public Result play(Scenario scenario)
            throws IOException, InterruptedException, ChaosException, Topics.ClusterException {
        return switch (scenario) {
            case KILL_INSTANCE -> play(scenario, 2, true, settings.kills(), this::killInstances);
            case PAUSE -> play(scenario, 2, true, settings.times(), this::pauseInstances);
            case DRAIN -> drain();
            case KILL_BROKER ->
                play(scenario, 2, true, settings.times(), stage -> killBrokers(stage, Duration.ZERO, this::anyBroker));
            case KILL_COORDINATOR ->
                play(
                        scenario,
                        2,
                        true,
                        settings.times(),
                        stage -> killBrokers(stage, Duration.ZERO, this::coordinator));
            case BROKER_GONE ->
                play(scenario, 2, true, 1, stage -> killBrokers(stage, settings.gone(), this::anyBroker));
            case DISK_FULL -> play(scenario, 2, true, 1, this::fillDisk);
            case ROLLING_RESTART -> play(scenario, 3, true, 3, this::restartAll);
            case SCALE -> play(scenario, 1, false, 4, this::scale);
            case MODEL_FAULTS -> play(scenario, 2, true, settings.times() * POISON.size(), this::poison);
        };
    }

    private Result play(Scenario scenario, int instances, boolean staticMembers, int faults, Act act)
            throws IOException, InterruptedException, ChaosException, Topics.ClusterException {
        try (Stage stage = stage(scenario, instances, staticMembers)) {
            act.play(stage);
            return new Result(scenario, faults, stage.count(Duration.ofMinutes(2)), stage.outages(), 0);
        }
    }

    private Stage stage(Scenario scenario, int instances, boolean staticMembers)
            throws IOException, InterruptedException, ChaosException, Topics.ClusterException {
        progress.accept(scenario + ": " + scenario.description());
        Map<String, String> own = new HashMap<>();
        // as clients have it, also for the look at the topics at the start: the cluster may be busy with a fault
        own.put("kafka.default.api.timeout.ms", "60000");
        own.put("kafka.request.timeout.ms", "30000");
        own.putAll(settings.instance());
        if (scenario.needsSpoiledBundle()) {
            own.put(
                    DragomanConfig.BUNDLES,
                    String.valueOf(Objects.requireNonNull(settings.spoiled(), "a spoiled bundle")));
        }
        own.put(DragomanConfig.BOOTSTRAP_SERVERS, brokers.bootstrapServers());
        own.put(DragomanConfig.TOPIC_PARTITIONS, String.valueOf(settings.partitions()));
        Stage stage = new Stage(family, folder, scenario.toString(), own, staticMembers, settings.rate());
        try {
            brokers.awaitInSync();
            for (int i = 0; i < instances; i++) {
                stage.add();
            }
            stage.begin();
            return stage;
        } catch (IOException | InterruptedException | ChaosException | RuntimeException e) {
            stage.close();
            throw e;
        }
    }

    private void killInstances(Stage stage) throws IOException, InterruptedException, ChaosException {
        int kills = 0;
        while (kills < settings.kills()) {
            atSomeMoment(4000);
            stage.fault();
            int victim = random.nextInt(stage.count());
            do {
                stage.instance(victim).kill();
                stage.restart(victim);
                kills++;
            } while (kills < settings.kills() && random.nextInt(4) == 0 && atSomeMoment(5000));
            tell("instance " + victim + " killed (" + kills + " of " + settings.kills() + ")", stage.recover());
        }
    }

    private void pauseInstances(Stage stage) throws IOException, InterruptedException, ChaosException {
        for (int i = 0; i < settings.times(); i++) {
            atSomeMoment(4000);
            stage.fault();
            Child victim = stage.instance(random.nextInt(stage.count()));
            victim.pause();
            TimeUnit.NANOSECONDS.sleep(settings.pause().toNanos());
            victim.resume();
            tell(victim.name() + " stood still for " + settings.pause().toSeconds() + " s", stage.recover());
        }
    }

    private interface Choice {
        int in(Stage stage) throws InterruptedException, ChaosException;
    }

    private int anyBroker(Stage stage) {
        return 1 + random.nextInt(brokers.count());
    }

    private int coordinator(Stage stage) throws InterruptedException, ChaosException {
        return brokers.coordinator(stage.group());
    }

    private void killBrokers(Stage stage, Duration gone, Choice choice)
            throws IOException, InterruptedException, ChaosException {
        int times = gone.isZero() ? settings.times() : 1;
        for (int i = 0; i < times; i++) {
            atSomeMoment(4000);
            int victim = choice.in(stage);
            stage.fault();
            brokers.node(victim).kill();
            TimeUnit.NANOSECONDS.sleep(gone.toNanos());
            brokers.restart(victim);
            brokers.awaitInSync();
            tell("broker " + victim + " killed", stage.recover());
        }
    }

    private void fillDisk(Stage stage) throws IOException, InterruptedException, ChaosException {
        atSomeMoment(4000);
        int victim = anyBroker(stage);
        stage.fault();
        brokers.node(victim).fillDisk();
        int code = brokers.node(victim).await();
        brokers.restart(victim);
        brokers.awaitInSync();
        tell("broker " + victim + " could not write and ended with " + code, stage.recover());
    }

    private void restartAll(Stage stage) throws IOException, InterruptedException, ChaosException {
        for (int i = 0; i < stage.count(); i++) {
            atSomeMoment(2000);
            stage.fault();
            end(stage.instance(i));
            stage.restart(i);
            tell("instance " + i + " restarted", stage.recover());
        }
    }

    private void scale(Stage stage) throws IOException, InterruptedException, ChaosException {
        for (int i = 0; i < 2; i++) {
            stage.fault();
            stage.add();
            tell("instance " + stage.count() + " joined", stage.recover());
        }
        for (int i = 0; i < 2; i++) {
            stage.fault();
            end(stage.instance(stage.count() - 1));
            stage.drop();
            tell("down to " + stage.count(), stage.recover());
        }
    }

    private void poison(Stage stage) throws IOException, InterruptedException, ChaosException {
        for (int i = 0; i < settings.times(); i++) {
            for (Map.Entry<String, String> fault : POISON.entrySet()) {
                atSomeMoment(2000);
                stage.fault();
                stage.traffic().poison(fault.getValue());
                tell("the model " + fault.getKey(), stage.recover());
            }
        }
    }

    /** One instance after the other; what each says it translated has to add up to what was sent. */
    private Result drain() throws IOException, InterruptedException, ChaosException, Topics.ClusterException {
        try (Stage stage = stage(Scenario.DRAIN, 1, true)) {
            long translated = 0;
            for (int i = 0; i < settings.times(); i++) {
                atSomeMoment(2000);
                stage.traffic().burst(100);
                TimeUnit.MILLISECONDS.sleep(300);
                stage.fault();
                end(stage.instance(0));
                long now = Stage.translated(stage.instance(0));
                translated += now;
                stage.restart(0);
                tell("ended after " + now + " sentences", stage.recover());
            }
            Ledger.Verdict verdict = stage.count(Duration.ofMinutes(2));
            end(stage.instance(0));
            translated += Stage.translated(stage.instance(0));
            return new Result(Scenario.DRAIN, settings.times(), verdict, stage.outages(), translated - verdict.sent());
        }
    }

    private static void end(Child instance) throws InterruptedException, ChaosException {
        int code = instance.terminate();
        if (code != TERMINATED) {
            throw new ChaosException(instance.name() + " should end with " + TERMINATED + " on SIGTERM: was " + code);
        }
    }

    private boolean atSomeMoment(int withinMillis) throws InterruptedException {
        TimeUnit.MILLISECONDS.sleep(random.nextInt(withinMillis));
        return true;
    }

    private void tell(String what, Ledger.Outage outage) {
        progress.accept("  " + what + ": silent for " + Result.seconds(outage.silence()) + " s, behind for "
                + Result.seconds(outage.behind()) + " s");
    }

    @Override
    public void close() {
        brokers.close();
        family.close();
    }
}
