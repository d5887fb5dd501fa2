package io.dragoman.chaos;

import io.dragoman.config.DragomanConfig;
import io.dragoman.topology.Topics;
import java.io.IOException;
import java.net.http.HttpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.ToDoubleFunction;

/**
 * One instance with far more to do than it can: a broker process, an instance process, a backlog and a producer that
 * stays ahead. Memory is read from outside, the rest from the instance's metrics.
 */
public final class Soak {
    /** A median of a quarter's samples may be so much above that of an earlier one's. */
    private static final double FLAT = 0.05;

    private static final double MEGABYTE = 1 << 20;

    /**
     * How much of everything.
     *
     * @param backlog sentences that wait from the beginning on
     * @param rate sentences a second that come while it runs, more than it can do
     * @param samples of memory, spread evenly
     * @param instance settings of the instance
     */
    public record Settings(int backlog, double rate, Duration time, int samples, Map<String, String> instance) {
        public Settings {
            instance = Map.copyOf(instance);
        }
    }

    /**
     * How things are at one moment.
     *
     * @param resident memory of the instance's process, bytes
     * @param heap of it used by Java objects, garbage not yet collected among them
     * @param open sentences sent and not yet visible
     * @param done sentences published
     * @param readAhead records read and not yet published
     * @param admitted the longest time from reading to publishing, of the last minutes, seconds
     * @param poll the longest time between two polls, of the last half minute, seconds
     */
    public record Sample(
            Duration at,
            double resident,
            double heap,
            long open,
            double done,
            double readAhead,
            double admitted,
            double poll,
            double rebalances) {
        @Override
        public String toString() {
            String bar = "#".repeat((int) Math.round(resident / MEGABYTE / 25));
            return String.format(
                    Locale.ROOT,
                    "%3d:%02d  %,9d wait  %,9.0f done  %5.0f read ahead  resident %4.0f MB  heap %3.0f MB  read to"
                            + " published %4.1f s  between polls %4.1f s  %s",
                    at.toMinutes(),
                    at.toSecondsPart(),
                    open,
                    done,
                    readAhead,
                    resident / MEGABYTE,
                    heap / MEGABYTE,
                    admitted,
                    poll,
                    bar);
        }
    }

    /** What the samples say. */
    public record Report(List<Sample> samples, Ledger.Verdict verdict, double pollLimit, int backlog) {
        private double median(double from, double to, ToDoubleFunction<Sample> of) {
            double[] values =
                    samples.subList((int) (from * samples.size()), (int) Math.ceil(to * samples.size())).stream()
                            .mapToDouble(of)
                            .sorted()
                            .toArray();
            return values[values.length / 2];
        }

        private double max(ToDoubleFunction<Sample> of) {
            return samples.stream().mapToDouble(of).max().orElse(0);
        }

        private double growth() {
            return median(0.75, 1, Sample::resident) / median(0.25, 0.5, Sample::resident) - 1;
        }

        private double rebalances() {
            return samples.get(samples.size() - 1).rebalances() - samples.get(0).rebalances();
        }

        private long leastOpen() {
            return samples.stream().mapToLong(Sample::open).min().orElse(0);
        }

        /** Whether memory stayed flat, nobody was thrown out of the group, and order was kept. */
        public boolean good() {
            return growth() <= FLAT
                    && max(Sample::poll) < pollLimit
                    && rebalances() == 0
                    && verdict.doubled() == 0
                    && verdict.outOfOrder() == 0
                    && leastOpen() >= backlog;
        }

        @Override
        public String toString() {
            return String.format(
                    Locale.ROOT,
                    """
                    waiting              at least %,d sentences at any time, %,d wanted
                    resident memory      median %.0f MB in the second quarter, %.0f MB in the last: %+.1f %%; at most %.0f MB
                    heap                 at most %.0f MB used
                    read ahead           at most %.0f records
                    read to published    at most %.1f s
                    between polls        at most %.1f s, %.0f s allowed (max.poll.interval.ms)
                    rebalances           %.0f
                    order                %d doubled, %d out of order of %,d published
                    %s""",
                    leastOpen(),
                    backlog,
                    median(0.25, 0.5, Sample::resident) / MEGABYTE,
                    median(0.75, 1, Sample::resident) / MEGABYTE,
                    100 * growth(),
                    max(Sample::resident) / MEGABYTE,
                    max(Sample::heap) / MEGABYTE,
                    max(Sample::readAhead),
                    max(Sample::admitted),
                    max(Sample::poll),
                    pollLimit,
                    rebalances(),
                    verdict.doubled(),
                    verdict.outOfOrder(),
                    verdict.sent() - verdict.lost(),
                    good() ? "bounded" : "NOT bounded");
        }
    }

    private Soak() {}

    /**
     * Runs it to the end.
     *
     * @param launcher {@code bin/dragoman}
     * @param folder for records, state and logs; the caller's
     * @param tell takes each sample
     */
    public static Report run(Path launcher, Path folder, Settings settings, Consumer<Sample> tell)
            throws IOException, InterruptedException, ChaosException, Topics.ClusterException {
        if (!Files.isReadable(Path.of("/proc/self/status"))) {
            throw new ChaosException("memory is read from /proc, which this system does not have");
        }
        try (Family family = new Family(launcher, Files.createDirectories(folder.resolve("logs")))) {
            Runtime.getRuntime().addShutdownHook(new Thread(family::close, "dragoman-shutdown"));
            try (Brokers brokers = Brokers.start(family, folder, 1)) {
                int port = Brokers.freePorts(1).get(0);
                Map<String, String> own = new HashMap<>(settings.instance());
                own.put(DragomanConfig.BOOTSTRAP_SERVERS, brokers.bootstrapServers());
                own.put(DragomanConfig.TOPIC_PARTITIONS, "6");
                own.put(DragomanConfig.METRICS_PORT, String.valueOf(port));
                try (Stage stage = new Stage(family, folder, "soak", own, false, settings.rate())) {
                    return watch(stage, port, settings, tell);
                }
            }
        }
    }

    private static Report watch(Stage stage, int port, Settings settings, Consumer<Sample> tell)
            throws IOException, InterruptedException, ChaosException {
        stage.add();
        stage.traffic().burst(2 * settings.backlog()); // what is done while it is sent comes on top
        stage.beginUnsettled();
        while (stage.traffic().ledger().open() < settings.backlog()) {
            stage.traffic().check();
            TimeUnit.MILLISECONDS.sleep(50);
        }
        HttpClient http = HttpClient.newHttpClient();
        List<Sample> samples = new ArrayList<>();
        long start = System.nanoTime();
        for (int i = 1; i <= settings.samples(); i++) {
            long due = start + settings.time().toNanos() * i / settings.samples();
            TimeUnit.NANOSECONDS.sleep(Math.max(0, due - System.nanoTime()));
            stage.traffic().check();
            if (!stage.instance(0).isAlive()) {
                throw new ChaosException(
                        "the instance ended by itself: " + stage.instance(0).log());
            }
            Sample sample = sample(stage, MetricsPage.read(http, port), Duration.ofNanos(System.nanoTime() - start));
            samples.add(sample);
            tell.accept(sample);
        }
        return new Report(
                samples,
                stage.traffic().ledger().verdict(),
                300, // max.poll.interval.ms
                settings.backlog());
    }

    private static Sample sample(Stage stage, MetricsPage page, Duration at) throws IOException {
        return new Sample(
                at,
                resident(stage.instance(0).pid()),
                page.sum("jvm_memory_used_bytes{area=\"heap\""),
                stage.traffic().ledger().open(),
                page.sum("dragoman_translations_total"),
                page.sum("dragoman_read_ahead_records"),
                page.max("dragoman_admitted_seconds_max"),
                page.max("kafka_consumer_time_between_poll_max") / 1000,
                page.sum("kafka_consumer_coordinator_rebalance_total"));
    }

    /** Bytes. */
    private static double resident(long pid) throws IOException {
        return Files.readAllLines(Path.of("/proc/" + pid + "/status")).stream()
                .filter(line -> line.startsWith("VmRSS:"))
                .mapToDouble(line -> Double.parseDouble(line.replaceAll("[^0-9]", "")) * 1024)
                .findFirst()
                .orElseThrow(() -> new IOException("process " + pid + " has no VmRSS"));
    }
}
