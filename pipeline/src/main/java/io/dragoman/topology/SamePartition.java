package io.dragoman.topology;

import java.util.Optional;
import java.util.Set;
import org.apache.kafka.streams.processor.StreamPartitioner;
import org.jspecify.annotations.Nullable;

/**
 * Sends a result to the partition its sentence came from (modulo the output topic's partitions), so that results stand in
 * the order of their sentences, whatever the keys are, also without keys. Equal keys stay together as they were.
 *
 * <p>A partitioner is not told where a record came from. The processor says so before it forwards, and Kafka Streams asks
 * the partitioner on the same thread, inside that call.
 */
final class SamePartition implements StreamPartitioner<byte[], byte[]> {
    private final ThreadLocal<Integer> current = ThreadLocal.withInitial(() -> 0);

    /** For what this thread forwards from now on. */
    void set(int partition) {
        current.set(partition);
    }

    @Override
    public Optional<Set<Integer>> partitions(
            String topic, byte @Nullable [] key, byte @Nullable [] value, int partitions) {
        return Optional.of(Set.of(current.get() % partitions));
    }
}
