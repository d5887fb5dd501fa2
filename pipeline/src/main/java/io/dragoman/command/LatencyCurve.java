package io.dragoman.command;

import io.dragoman.config.DragomanConfig;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Throughput and latency against linger, rows of a batch and commit interval, one at a time from the configured ones.
 * Latency is from when a sentence is given to the producer until a {@code read_committed} consumer has its translation and
 * its alignment; arrivals are a Poisson process (exponential gaps, seeded).
 */
final class LatencyCurve {
    /** Of the throughput at saturation with the configured settings. */
    private static final double[] LOADS = {0.1, 0.5, 0.8};

    private static final Duration WARM_UP = Duration.ofSeconds(2);
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    private record Variation(int linger, int rows, int commit) {
        Map<String, String> over(Map<String, String> settings) {
            Map<String, String> all = new HashMap<>(settings);
            all.put(DragomanConfig.BATCH_LINGER_MS, String.valueOf(linger));
            all.put(DragomanConfig.BATCH_MAX_ROWS, String.valueOf(rows));
            all.put(DragomanConfig.COMMIT_INTERVAL_MS, String.valueOf(commit));
            return all;
        }
    }

    private final Map<String, String> settings;
    private final List<String> lines;
    private final Duration each;
    private final PrintStream out;

    /**
     * @param lines what is sent, again from the first when it is not enough
     * @param each how long each load is kept up
     */
    LatencyCurve(Map<String, String> settings, List<String> lines, Duration each, PrintStream out) {
        this.settings = settings;
        this.lines = lines;
        this.each = each;
        this.out = out;
    }

    void run() throws Exception {
        Map<String, String> complete = new HashMap<>(settings);
        complete.put(DragomanConfig.BOOTSTRAP_SERVERS, "127.0.0.1:1"); // any: only the others are read
        DragomanConfig config = DragomanConfig.of(complete);
        Variation own = new Variation(
                config.integer(DragomanConfig.BATCH_LINGER_MS),
                config.integer(DragomanConfig.BATCH_MAX_ROWS),
                config.integer(DragomanConfig.COMMIT_INTERVAL_MS));
        List<Variation> variations = new ArrayList<>(List.of(own));
        for (int linger : new int[] {0, 5, 20, 100}) {
            variations.add(new Variation(linger, own.rows(), own.commit()));
        }
        for (int rows : new int[] {8, 32, 64, 128}) {
            variations.add(new Variation(own.linger(), rows, own.commit()));
        }
        for (int commit : new int[] {20, 50, 100, 250, 1000}) {
            variations.add(new Variation(own.linger(), own.rows(), commit));
        }
        out.println("| linger, ms | rows | commit, ms | saturated, sentences/s |"
                + " at 10 %: p50, p99 ms | at 50 %: p50, p99 ms | at 80 %: p50, p99 ms |");
        out.println("| --- | --- | --- | --- | --- | --- | --- |");
        double saturated = 0;
        for (Variation variation : variations.stream().distinct().toList()) {
            saturated = measure(variation, saturated);
        }
    }

    /** @param base sentences a second that the loads are shares of; 0 takes this variation's own; returns it */
    private double measure(Variation variation, double base) throws Exception {
        try (LocalPipeline local = LocalPipeline.start(variation.over(settings));
                TranslationClient client = new TranslationClient(
                        local.bootstrapServers(), Map.of(), local.config().topics(), null, null, false)) {
            AtomicLong number = new AtomicLong();
            saturated(client, local, number, lines.size() / 2); // warm-up
            double rate = saturated(client, local, number, lines.size());
            double of = base == 0 ? rate : base;
            StringBuilder row = new StringBuilder(String.format(
                    Locale.ROOT,
                    "| %d | %s | %d | %.0f |",
                    variation.linger(),
                    variation.rows() == 0 ? "by beam" : variation.rows(),
                    variation.commit(),
                    rate));
            for (double load : LOADS) {
                long[] millis = loaded(client, number, load * of);
                row.append(String.format(Locale.ROOT, " %d, %d |", quantile(millis, 0.5), quantile(millis, 0.99)));
            }
            out.println(row);
            out.flush();
            return of;
        }
    }

    private double saturated(TranslationClient client, LocalPipeline local, AtomicLong number, int count)
            throws CommandException {
        long first = number.get();
        long start = System.nanoTime();
        for (int i = 0; i < count; i++) {
            client.send(number.getAndIncrement(), line(first + i));
        }
        for (long answered = 0; answered < count; ) {
            answered += client.poll(Duration.ofMillis(50)).size();
            if (System.nanoTime() - start > 10 * PATIENCE.toNanos()) {
                throw new CommandException("only " + answered + " of " + count + " sentences came back: "
                        + local.pipeline().fault().orElse("no fault is known"));
            }
        }
        return count / ((System.nanoTime() - start) / 1e9);
    }

    /** Sorted latencies in ms of the sentences sent after the warm-up. */
    private long[] loaded(TranslationClient client, AtomicLong number, double rate)
            throws CommandException, InterruptedException {
        long start = System.nanoTime();
        long measuredFrom = System.currentTimeMillis() + WARM_UP.toMillis();
        AtomicLong sent = new AtomicLong();
        AtomicBoolean done = new AtomicBoolean();
        AtomicReference<@Nullable CommandException> failure = new AtomicReference<>();
        Random random = new Random(1);
        Thread sender = new Thread(
                () -> {
                    double due = 0;
                    try {
                        while (due < WARM_UP.plus(each).toNanos()) {
                            TimeUnit.NANOSECONDS.sleep(Math.max(0, start + (long) due - System.nanoTime()));
                            long next = number.getAndIncrement();
                            client.send(next, line(next));
                            sent.incrementAndGet();
                            due -= Math.log(1 - random.nextDouble()) / rate * 1e9;
                        }
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                    } catch (CommandException e) {
                        failure.set(e);
                    } finally {
                        done.set(true);
                    }
                },
                "dragoman-sender");
        sender.setDaemon(true);
        sender.start();
        List<Long> millis = new ArrayList<>();
        long answered = 0;
        while (!done.get() || answered < sent.get()) {
            for (Reply reply : client.poll(Duration.ofMillis(10)).values()) {
                answered++;
                if (reply.translation() != null) {
                    long since = reply.translation().getOrigin().getTimestamp();
                    if (since >= measuredFrom) {
                        millis.add(System.currentTimeMillis() - since);
                    }
                }
            }
            CommandException e = failure.get();
            if (e != null) {
                throw e;
            }
            if (System.nanoTime() - start > WARM_UP.plus(each).plus(PATIENCE).toNanos()) {
                throw new CommandException("only " + answered + " of " + sent + " sentences came back in time");
            }
        }
        if (millis.isEmpty()) {
            throw new CommandException("no sentence came back: give more --seconds");
        }
        return millis.stream().mapToLong(Long::longValue).sorted().toArray();
    }

    private byte[] line(long number) {
        return lines.get((int) (number % lines.size())).getBytes(StandardCharsets.UTF_8);
    }

    private static long quantile(long[] sorted, double share) {
        return sorted[Math.min(sorted.length - 1, (int) Math.floor(share * sorted.length))];
    }
}
