package io.dragoman.chaos;

import io.dragoman.config.DragomanConfig;
import io.dragoman.config.TopicNames;
import io.dragoman.topology.Topics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What one scenario is played on: topics and a consumer group of its own, instances, and traffic. */
final class Stage implements AutoCloseable {
    private static final Duration PATIENCE = Duration.ofMinutes(5);
    /** Faults need a moment to show. */
    private static final Duration MOMENT = Duration.ofSeconds(4);
    /** Late doubles would come within it. */
    private static final Duration AFTERMATH = Duration.ofSeconds(3);

    private static final Pattern TRANSLATED = Pattern.compile("dragoman: stopped, translated (\\d+) sentences");

    private final Family family;
    private final Path folder;
    private final Map<String, String> settings;
    private final boolean staticMembers;
    private final DragomanConfig config;
    private final List<Child> instances = new ArrayList<>();
    private final List<Ledger.Outage> outages = new ArrayList<>();
    private final Traffic traffic;

    /**
     * Makes the topics; {@link #begin} starts sending.
     *
     * @param name of the topics and of the group
     * @param settings of the instances: cluster, partitions, model
     */
    Stage(Family family, Path folder, String name, Map<String, String> settings, boolean staticMembers, double rate)
            throws Topics.ClusterException {
        this.family = family;
        this.folder = folder;
        this.staticMembers = staticMembers;
        this.settings = new HashMap<>(settings);
        this.settings.put(DragomanConfig.APPLICATION_ID, name);
        this.settings.put(DragomanConfig.TOPIC_PREFIX, name);
        this.settings.put(DragomanConfig.STATE_DIR, folder.toString()); // each instance has its own
        this.config = DragomanConfig.of(this.settings);
        Topics.create(config);
        TopicNames topics = config.topics();
        this.traffic = new Traffic(
                String.join(",", config.list(DragomanConfig.BOOTSTRAP_SERVERS)),
                topics,
                config.integer(DragomanConfig.TOPIC_PARTITIONS),
                rate);
    }

    String group() {
        return config.string(DragomanConfig.APPLICATION_ID);
    }

    Traffic traffic() {
        return traffic;
    }

    List<Ledger.Outage> outages() {
        return List.copyOf(outages);
    }

    Child instance(int number) {
        return instances.get(number);
    }

    int count() {
        return instances.size();
    }

    /** Starts one more instance; returns at once. */
    void add() throws IOException, ChaosException {
        instances.add(launch(instances.size()));
    }

    /** Starts an instance that has ended, with its state and its name; returns at once. */
    void restart(int number) throws IOException, ChaosException {
        instances.set(number, launch(number));
    }

    /** The last instance ended for good. */
    void drop() {
        instances.remove(instances.size() - 1);
    }

    private Child launch(int number) throws IOException, ChaosException {
        String name = group() + "-" + number;
        Map<String, String> own = new HashMap<>(settings);
        own.put(DragomanConfig.STATE_DIR, folder.resolve("state-" + name).toString());
        if (staticMembers) {
            own.put(DragomanConfig.KAFKA_PREFIX + "main.consumer.group.instance.id", name);
        }
        Path file = folder.resolve(name + ".properties");
        Files.write(
                file,
                own.entrySet().stream()
                        .map(entry -> entry.getKey() + "=" + entry.getValue())
                        .toList());
        return family.start(name, List.of("run", "--config", file.toString()));
    }

    /** Starts sending once all instances have joined, and returns when they keep up. */
    void begin() throws IOException, InterruptedException, ChaosException {
        awaitJoined();
        traffic.start();
        settle();
    }

    /** Starts sending once all instances have joined, and returns at once. */
    void beginUnsettled() throws IOException, InterruptedException, ChaosException {
        awaitJoined();
        traffic.start();
    }

    private void awaitJoined() throws IOException, InterruptedException, ChaosException {
        for (Child instance : instances) {
            instance.awaitLog(", reading ");
        }
    }

    /** Returns once all instances have joined and no sentence waits for long. */
    private void settle() throws IOException, InterruptedException, ChaosException {
        awaitJoined();
        long start = System.nanoTime();
        while (behind(start) || System.nanoTime() - start < MOMENT.toNanos()) {
            TimeUnit.MILLISECONDS.sleep(50);
        }
    }

    private boolean behind(long since) throws ChaosException {
        traffic.check();
        for (Child instance : instances) {
            if (!instance.isAlive()) {
                throw new ChaosException(instance.name() + " ended by itself");
            }
        }
        Duration waiting = traffic.ledger().waiting(System.nanoTime());
        if (System.nanoTime() - since > PATIENCE.toNanos()) {
            throw new ChaosException("sentences should be translated within " + PATIENCE.toSeconds()
                    + " s of a fault: one has waited " + waiting.toSeconds() + " s");
        }
        return waiting.compareTo(Ledger.NORMAL) > 0;
    }

    void fault() {
        traffic.ledger().fault(System.nanoTime());
    }

    /** Settles, and notes what the fault did. */
    Ledger.Outage recover() throws IOException, InterruptedException, ChaosException {
        settle();
        Ledger.Outage outage = traffic.ledger().over();
        outages.add(outage);
        return outage;
    }

    /** Sends no more, waits for what is under way, and counts. Sentences that never come are lost, not waited for longer. */
    Ledger.Verdict count(Duration patience) throws InterruptedException, ChaosException {
        traffic.stopSending();
        long end = System.nanoTime() + patience.toNanos();
        while (!traffic.ledger().waiting(System.nanoTime()).isZero() && System.nanoTime() < end) {
            TimeUnit.MILLISECONDS.sleep(50);
            traffic.check();
        }
        TimeUnit.NANOSECONDS.sleep(AFTERMATH.toNanos());
        traffic.check();
        return traffic.ledger().verdict();
    }

    /** How many sentences an instance that has ended says it translated. */
    static long translated(Child instance) throws IOException, ChaosException {
        Matcher matcher = TRANSLATED.matcher(instance.log());
        if (!matcher.find()) {
            throw new ChaosException(
                    instance.name() + " should say how many sentences it translated: " + instance.log());
        }
        return Long.parseLong(matcher.group(1));
    }

    @Override
    public void close() throws InterruptedException {
        traffic.close();
        for (Child instance : instances) {
            instance.kill();
        }
    }
}
