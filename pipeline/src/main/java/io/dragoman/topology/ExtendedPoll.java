package io.dragoman.topology;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/**
 * One poll made of several, for a stream thread that could do nothing but wait.
 *
 * <p>Kafka Streams polls, processes all that a poll brought, and only then polls again. Of a burst the first poll brings a few
 * sentences: until they are translated the others would stay unread, and batches are picked from what was read. So a
 * poll goes on while all of this holds: the last one brought something, there is room, and nothing that the thread has read is
 * translated yet. It ends with the first result, or 5 ms after the last record.
 *
 * <p>What stands in the way of that being one poll:
 *
 * <ul>
 *   <li><b>A rebalance</b> in a later one takes partitions away. Their records of before are dropped: Kafka Streams has closed
 *       the tasks, nothing of them was processed, and whoever has the partition reads them. The poll ends.
 *   <li><b>An exception</b> in a later one. The positions go back to where the poll began, so that as a whole it has read
 *       nothing; the look-ahead knows those records when they are read again.
 * </ul>
 *
 * <p>Threading: a consumer's.
 */
final class ExtendedPoll {
    /** How long more is waited for: less than a run of the model. */
    static final Duration MORE = Duration.ofMillis(5);

    private final BooleanSupplier waiting;
    private final int most;
    private final int part;
    private final Set<TopicPartition> gone = new HashSet<>();
    private boolean rebalanced;

    /**
     * @param waiting whether nothing that the calling thread has read is translated
     * @param most records of the whole, unless {@code part} is more
     * @param part records that one poll brings at most, the consumer's {@code max.poll.records}
     */
    ExtendedPoll(BooleanSupplier waiting, int most, int part) {
        this.waiting = waiting;
        this.most = most;
        this.part = part;
    }

    /** The listener that the consumer should have in place of {@code listener}, which is told everything. */
    ConsumerRebalanceListener watching(ConsumerRebalanceListener listener) {
        return new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                gone.addAll(partitions);
                listener.onPartitionsRevoked(partitions);
            }

            @Override
            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                gone.addAll(partitions);
                listener.onPartitionsLost(partitions);
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                rebalanced = true;
                listener.onPartitionsAssigned(partitions);
            }
        };
    }

    /** @param once one poll of {@code consumer} itself */
    ConsumerRecords<byte[], byte[]> poll(
            Duration timeout,
            Function<Duration, ConsumerRecords<byte[], byte[]>> once,
            Consumer<byte[], byte[]> consumer) {
        ConsumerRecords<byte[], byte[]> all = once.apply(timeout);
        boolean goesOn = !all.isEmpty();
        while (goesOn && all.count() + part <= most && waiting.getAsBoolean()) {
            gone.clear();
            rebalanced = false;
            ConsumerRecords<byte[], byte[]> more;
            try {
                more = once.apply(MORE);
            } catch (RuntimeException e) {
                putBack(all, consumer);
                throw e;
            }
            goesOn = !more.isEmpty() && !rebalanced && gone.isEmpty();
            all = joined(all, more);
        }
        return all;
    }

    private void putBack(ConsumerRecords<byte[], byte[]> records, Consumer<byte[], byte[]> consumer) {
        Set<TopicPartition> owned = consumer.assignment();
        for (TopicPartition partition : records.partitions()) {
            if (owned.contains(partition) && !gone.contains(partition)) {
                ConsumerRecord<byte[], byte[]> first =
                        records.records(partition).get(0);
                consumer.seek(partition, new OffsetAndMetadata(first.offset(), first.leaderEpoch(), ""));
            }
        }
    }

    /** Of {@code before} only what was not taken away since. */
    private ConsumerRecords<byte[], byte[]> joined(
            ConsumerRecords<byte[], byte[]> before, ConsumerRecords<byte[], byte[]> more) {
        Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> records = new HashMap<>();
        for (TopicPartition partition : before.partitions()) {
            records.put(partition, new ArrayList<>(before.records(partition)));
        }
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>(before.nextOffsets());
        records.keySet().removeAll(gone);
        next.keySet().removeAll(gone);
        for (TopicPartition partition : more.partitions()) {
            records.computeIfAbsent(partition, absent -> new ArrayList<>()).addAll(more.records(partition));
        }
        next.putAll(more.nextOffsets());
        return new ConsumerRecords<>(records, next);
    }
}
