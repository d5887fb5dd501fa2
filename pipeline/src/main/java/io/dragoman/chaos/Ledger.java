package io.dragoman.chaos;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * Every sentence that was sent, and how often and in which order its records came out of each topic. Sentences of a
 * partition are numbered from 0. Times are of {@link System#nanoTime}. Threading: any.
 */
final class Ledger {
    /** A sentence that waits longer than this counts as behind. */
    static final Duration NORMAL = Duration.ofSeconds(3);

    /** Doubled and out of order are counted once for each record, over all topics; lost ones miss a record somewhere. */
    record Verdict(long sent, long lost, long doubled, long outOfOrder) {
        boolean faultless() {
            return lost == 0 && doubled == 0 && outOfOrder == 0;
        }
    }

    /**
     * What a fault did.
     *
     * @param silence the longest time a partition went without a result
     * @param behind until when sentences waited longer than {@link #NORMAL}, from the fault on
     */
    record Outage(Duration silence, Duration behind) {}

    /** One partition of one topic that results go to. */
    private static final class Lane {
        private long next;
        private long doubled;
        private long outOfOrder;
        private long lastArrival = Long.MIN_VALUE;
        private final TreeSet<Long> skipped = new TreeSet<>();
        private final TreeSet<Long> excused = new TreeSet<>();

        void arrived(long number) {
            if (number >= next) {
                for (long between = next; between < number; between++) {
                    if (!excused.remove(between)) {
                        skipped.add(between);
                    }
                }
                next = number + 1;
                passExcused();
            } else if (skipped.remove(number)) {
                outOfOrder++;
            } else {
                doubled++;
            }
        }

        void excuse(long number) {
            if (!skipped.remove(number)) {
                excused.add(number);
            }
            passExcused();
        }

        private void passExcused() {
            while (excused.remove(next)) {
                next++;
            }
        }

        /** The first that did not come out. */
        long firstMissing() {
            return skipped.isEmpty() ? next : skipped.first();
        }
    }

    private final Map<String, List<Lane>> lanes = new HashMap<>();
    private final List<List<Long>> sent = new ArrayList<>();
    private @Nullable Long fault;
    private long silence;
    private long behind;

    Ledger(List<String> topics, int partitions) {
        for (String topic : topics) {
            List<Lane> some = new ArrayList<>();
            for (int i = 0; i < partitions; i++) {
                some.add(new Lane());
            }
            lanes.put(topic, some);
        }
        for (int i = 0; i < partitions; i++) {
            sent.add(new ArrayList<>());
        }
    }

    /** Notes a sentence and returns its number. */
    synchronized int sent(int partition, long now) {
        List<Long> times = sent.get(partition);
        times.add(now);
        return times.size() - 1;
    }

    synchronized void arrived(String topic, int partition, long number, long now) {
        List<Lane> some = lanes.get(topic);
        if (some == null || number < 0 || number >= sent.get(partition).size()) {
            throw new IllegalArgumentException("nobody sent " + partition + ":" + number + " for " + topic);
        }
        Lane lane = some.get(partition);
        boolean newest = number >= lane.next;
        lane.arrived(number);
        // A pause of the sender is no silence: it counts from when there was something to answer.
        if (fault != null && newest) {
            silence = Math.max(
                    silence,
                    now - Math.max(lane.lastArrival, sent.get(partition).get((int) number)));
        }
        lane.lastArrival = now;
    }

    /** A sentence that was meant to be rejected was: it is not waited for, and is a double where it comes out. */
    synchronized void excused(int partition, long number) {
        lanes.values().forEach(some -> some.get(partition).excuse(number));
    }

    /** How long the oldest sentence has waited for one of its records; 0 when none waits. */
    synchronized Duration waiting(long now) {
        long oldest = now;
        for (List<Lane> some : lanes.values()) {
            for (int partition = 0; partition < some.size(); partition++) {
                long missing = some.get(partition).firstMissing();
                List<Long> times = sent.get(partition);
                if (missing < times.size()) {
                    oldest = Math.min(oldest, times.get((int) missing));
                }
            }
        }
        return Duration.ofNanos(now - oldest);
    }

    /** How many sentences still miss a record. */
    synchronized long open() {
        long open = 0;
        for (int partition = 0; partition < sent.size(); partition++) {
            long whole = Long.MAX_VALUE;
            for (List<Lane> some : lanes.values()) {
                whole = Math.min(whole, some.get(partition).firstMissing());
            }
            open += sent.get(partition).size() - whole;
        }
        return open;
    }

    /** To be called often: notes whether sentences wait too long. */
    synchronized void tick(long now) {
        if (fault != null && waiting(now).compareTo(NORMAL) > 0) {
            behind = now - fault;
        }
    }

    /** Something is being done to the pipeline now. */
    synchronized void fault(long now) {
        fault = now;
        silence = 0;
        behind = 0;
    }

    /** What the last fault did; it is over. */
    synchronized Outage over() {
        fault = null;
        return new Outage(Duration.ofNanos(silence), Duration.ofNanos(behind));
    }

    synchronized Verdict verdict() {
        long lost = 0;
        long doubled = 0;
        long outOfOrder = 0;
        for (int partition = 0; partition < sent.size(); partition++) {
            int count = sent.get(partition).size();
            TreeSet<Long> missing = new TreeSet<>();
            for (List<Lane> some : lanes.values()) {
                Lane lane = some.get(partition);
                missing.addAll(lane.skipped);
                for (long number = lane.next; number < count; number++) {
                    missing.add(number);
                }
                doubled += lane.doubled;
                outOfOrder += lane.outOfOrder;
            }
            lost += missing.size();
        }
        return new Verdict(sent.stream().mapToLong(List::size).sum(), lost, doubled, outOfOrder);
    }
}
