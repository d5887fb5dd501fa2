package io.dragoman.topology;

import java.time.Duration;
import java.util.Collection;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.KafkaClientSupplier;

/**
 * The Kafka clients that Kafka Streams would make for itself, but for the consumer of the sentences: its polls are
 * {@link ReadyPoll}s. (With {@code group.protocol=streams} Kafka Streams makes its own, whose polls are plain.)
 *
 * @param readAhead sentences that a stream thread may have read and not got
 */
record Clients(LookAhead lookAhead, int readAhead) implements KafkaClientSupplier {
    @Override
    public Admin getAdmin(Map<String, Object> settings) {
        return Admin.create(settings);
    }

    @Override
    public Producer<byte[], byte[]> getProducer(Map<String, Object> settings) {
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    @Override
    public Consumer<byte[], byte[]> getConsumer(Map<String, Object> settings) {
        int part = Integer.parseInt(String.valueOf(settings.get(ConsumerConfig.MAX_POLL_RECORDS_CONFIG)));
        return new SentenceConsumer(settings, new ReadyPoll(lookAhead, readAhead, part));
    }

    @Override
    public Consumer<byte[], byte[]> getRestoreConsumer(Map<String, Object> settings) {
        return plain(settings);
    }

    @Override
    public Consumer<byte[], byte[]> getGlobalConsumer(Map<String, Object> settings) {
        return plain(settings);
    }

    private static Consumer<byte[], byte[]> plain(Map<String, Object> settings) {
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static final class SentenceConsumer extends KafkaConsumer<byte[], byte[]> {
        private final ReadyPoll ready;

        SentenceConsumer(Map<String, Object> settings, ReadyPoll ready) {
            super(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            this.ready = ready;
        }

        @Override
        public void subscribe(Collection<String> topics, ConsumerRebalanceListener listener) {
            super.subscribe(topics, ready.watching(listener, this));
        }

        @Override
        public void unsubscribe() {
            super.unsubscribe();
            ready.leaveAll();
        }

        @Override
        public ConsumerRecords<byte[], byte[]> poll(Duration timeout) {
            return ready.poll(timeout, super::poll, this);
        }

        @Override
        public long position(TopicPartition partition) {
            Long held = ready.position(partition);
            return held != null ? held : super.position(partition);
        }

        @Override
        public void seek(TopicPartition partition, long offset) {
            super.seek(partition, offset);
            ready.leave(Set.of(partition));
        }

        @Override
        public void seek(TopicPartition partition, OffsetAndMetadata place) {
            super.seek(partition, place);
            ready.leave(Set.of(partition));
        }

        @Override
        public void seekToBeginning(Collection<TopicPartition> partitions) {
            super.seekToBeginning(partitions);
            ready.leave(partitions);
        }

        @Override
        public void seekToEnd(Collection<TopicPartition> partitions) {
            super.seekToEnd(partitions);
            ready.leave(partitions);
        }
    }
}
