package io.dragoman.topology;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InterruptException;
import org.jspecify.annotations.Nullable;

/**
 * Polls of a stream thread that never waits for a model: what was read is held back until its result is known.
 *
 * <p>Kafka Streams polls, processes all that the poll brought, and polls again only then. With records whose results are not
 * known it would stand in the processor, and whatever comes meanwhile would stay unread, though a worker may be free. So a
 * poll reads all there is room for, and brings only what is {@link Results#isDue due}, of each partition in order and no
 * more than a consumer's poll does. What Kafka Streams has not got counts as unread: it is neither processed nor committed, and
 * {@link #position} does not go beyond it.
 *
 * <p>What takes held records away:
 *
 * <ul>
 *   <li><b>A rebalance</b>: those of a partition that is revoked or lost are dropped, and whoever has it then reads them. The
 *       poll ends, because Kafka Streams has tasks to see to.
 *   <li><b>Kafka Streams goes to another place</b> ({@link #leave}), as it does with a task that it gives up: they are dropped,
 *       and read again from there.
 * </ul>
 *
 * A partition that Kafka Streams has paused brings nothing, of what is held neither. After an exception of the consumer all
 * stays held. When there is no room the consumer is polled all the same, for the group's sake, with every partition
 * paused as long as that takes.
 *
 * <p>Threading: a consumer's.
 */
final class ReadyPoll {
    /** How often is looked for what has come, while results are waited for. */
    static final Duration INTERVAL = Duration.ofMillis(5);
    /** The same while it would have to wait for others; and how often something is brought then. */
    static final Duration BUSY_INTERVAL = Duration.ofMillis(50);

    /** What is known of the records that were read. */
    interface Results {
        /** Whether the first record of its partition should go to Kafka Streams; to ask is to wait for it. */
        boolean isDue(ConsumerRecord<byte[], byte[]> record);

        /** Whether the instance ends: nothing more is read, and all that is held goes to Kafka Streams. */
        boolean isEnding();

        /** Whether more was read than can be worked on soon. */
        boolean isBusy();

        /** How often results became known. */
        long rung();

        /** Waits until that is more than {@code before}, or for {@code most}. */
        void await(long before, Duration most) throws InterruptedException;
    }

    private final Results results;
    private final int most;
    private final int part;
    private final Map<TopicPartition, Deque<ConsumerRecord<byte[], byte[]>>> held = new LinkedHashMap<>();
    /** Where to go on, after what was read; of those that Kafka Streams does not know it from. */
    private final Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();

    private int count;
    /** Since when something has been held without a break. */
    private long heldSince;

    private long lastRead;
    private long lastBrought;
    /** Whether the last read brought something. */
    private boolean readsOn;

    private boolean rebalanced;
    /** Those that were paused for want of room. */
    private final Set<TopicPartition> paused = new HashSet<>();

    /**
     * @param most records that are held back, unless {@code part} is more
     * @param part records that a poll brings at most, the consumer's {@code max.poll.records}
     */
    ReadyPoll(Results results, int most, int part) {
        this.lastBrought = System.nanoTime() - BUSY_INTERVAL.toNanos();
        this.results = results;
        this.most = most;
        this.part = part;
    }

    /** The listener that {@code consumer} should have in place of {@code listener}, which is told everything. */
    ConsumerRebalanceListener watching(ConsumerRebalanceListener listener, Consumer<byte[], byte[]> consumer) {
        return new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                gone(partitions);
                listener.onPartitionsRevoked(partitions);
            }

            @Override
            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                gone(partitions);
                listener.onPartitionsLost(partitions);
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                gone(List.of());
                listener.onPartitionsAssigned(partitions);
            }

            /** What Kafka Streams pauses here stays paused. */
            private void gone(Collection<TopicPartition> partitions) {
                rebalanced = true;
                resume(consumer);
                leave(partitions);
            }
        };
    }

    /** Nothing is held of these any more. */
    void leave(Collection<TopicPartition> partitions) {
        for (TopicPartition partition : partitions) {
            Deque<ConsumerRecord<byte[], byte[]>> records = held.remove(partition);
            count -= records == null ? 0 : records.size();
            next.remove(partition);
        }
    }

    /** The same of all. */
    void leaveAll() {
        leave(Set.copyOf(next.keySet()));
        leave(Set.copyOf(held.keySet()));
    }

    /** The offset of the first record held of a partition; null for none. */
    @Nullable
    Long position(TopicPartition partition) {
        Deque<ConsumerRecord<byte[], byte[]>> records = held.get(partition);
        return records == null ? null : records.getFirst().offset();
    }

    /**
     * @param timeout how long is waited for something to bring
     * @param once one poll of {@code consumer} itself
     */
    ConsumerRecords<byte[], byte[]> poll(
            Duration timeout,
            Function<Duration, ConsumerRecords<byte[], byte[]>> once,
            Consumer<byte[], byte[]> consumer) {
        long end = System.nanoTime() + timeout.toNanos();
        rebalanced = false;
        if (held.isEmpty()) {
            read(timeout, once, consumer);
            heldSince = lastRead;
        } else if (isTimeToRead()) {
            read(Duration.ZERO, once, consumer);
        }
        while (true) {
            long rung = results.rung();
            ConsumerRecords<byte[], byte[]> ready = isTimeToBring() ? ready(consumer) : ConsumerRecords.empty();
            long now = System.nanoTime();
            lastBrought = ready.isEmpty() ? lastBrought : now;
            if (!ready.isEmpty() || held.isEmpty() || rebalanced || now >= end) {
                return ready;
            }
            if (isTimeToRead()) {
                read(lastRead - heldSince < INTERVAL.toNanos() ? patience(end) : Duration.ZERO, once, consumer);
            } else {
                await(rung, Math.min(end, lastRead + interval()) - now);
            }
        }
    }

    /** A burst has just begun, and its results come no sooner than a run of the model takes. */
    private static Duration patience(long end) {
        return Duration.ofNanos(Math.max(0, Math.min(INTERVAL.toNanos(), end - System.nanoTime())));
    }

    private boolean hasRoom() {
        return !results.isEnding() && (count == 0 || count + part <= most);
    }

    private boolean isTimeToRead() {
        return (readsOn && hasRoom()) || System.nanoTime() - lastRead >= interval();
    }

    /** Each time Kafka Streams looks through its tasks: while there is a backlog more results at once save some of that. */
    private boolean isTimeToBring() {
        return !results.isBusy() || results.isEnding() || System.nanoTime() - lastBrought >= BUSY_INTERVAL.toNanos();
    }

    private long interval() {
        return (results.isBusy() ? BUSY_INTERVAL : INTERVAL).toNanos();
    }

    private void await(long rung, long nanos) {
        try {
            results.await(rung, Duration.ofNanos(nanos));
        } catch (InterruptedException e) {
            throw new InterruptException(e);
        }
    }

    private void read(
            Duration timeout,
            Function<Duration, ConsumerRecords<byte[], byte[]>> once,
            Consumer<byte[], byte[]> consumer) {
        if (!hasRoom()) {
            paused.addAll(consumer.assignment());
            paused.removeAll(consumer.paused());
            consumer.pause(paused);
        }
        ConsumerRecords<byte[], byte[]> more;
        try {
            more = once.apply(timeout);
        } finally {
            resume(consumer);
        }
        for (TopicPartition partition : more.partitions()) {
            held.computeIfAbsent(partition, absent -> new ArrayDeque<>()).addAll(more.records(partition));
        }
        count += more.count();
        next.putAll(more.nextOffsets());
        readsOn = !more.isEmpty();
        lastRead = System.nanoTime();
    }

    private void resume(Consumer<byte[], byte[]> consumer) {
        paused.retainAll(consumer.assignment());
        consumer.resume(paused);
        paused.clear();
    }

    /** What is due, with where to go on after it. A partition that had its share comes last next time. */
    private ConsumerRecords<byte[], byte[]> ready(Consumer<byte[], byte[]> consumer) {
        Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> ready = new HashMap<>();
        Map<TopicPartition, OffsetAndMetadata> goOn = new HashMap<>();
        Set<TopicPartition> waiting = consumer.paused();
        int share = results.isEnding() ? Integer.MAX_VALUE : part;
        int left = share;
        for (Map.Entry<TopicPartition, Deque<ConsumerRecord<byte[], byte[]>>> entry : List.copyOf(held.entrySet())) {
            TopicPartition partition = entry.getKey();
            Deque<ConsumerRecord<byte[], byte[]>> records = entry.getValue();
            List<ConsumerRecord<byte[], byte[]>> due = waiting.contains(partition) ? List.of() : due(records, left);
            if (due.isEmpty()) {
                continue;
            }
            left -= due.size();
            ready.put(partition, due);
            held.remove(partition);
            if (!records.isEmpty()) {
                held.put(partition, records);
                ConsumerRecord<byte[], byte[]> first = records.getFirst();
                goOn.put(partition, new OffsetAndMetadata(first.offset(), first.leaderEpoch(), ""));
            }
        }
        count -= share - left;
        for (TopicPartition partition : List.copyOf(next.keySet())) {
            if (!held.containsKey(partition) && !waiting.contains(partition)) {
                goOn.put(partition, next.remove(partition));
            }
        }
        return new ConsumerRecords<>(ready, goOn);
    }

    private List<ConsumerRecord<byte[], byte[]>> due(Deque<ConsumerRecord<byte[], byte[]>> records, int most) {
        List<ConsumerRecord<byte[], byte[]>> due = new ArrayList<>();
        while (due.size() < most && !records.isEmpty() && results.isDue(records.getFirst())) {
            due.add(records.removeFirst());
        }
        return due;
    }
}
