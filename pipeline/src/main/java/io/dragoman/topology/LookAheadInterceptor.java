package io.dragoman.topology;

import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.jspecify.annotations.Nullable;

/** Hands every polled record to the instance's {@link LookAhead}. Public because the Kafka consumer makes it by name. */
public final class LookAheadInterceptor implements ConsumerInterceptor<byte[], byte[]> {
    /** The consumer setting that holds the {@link LookAhead} itself. */
    static final String LOOK_AHEAD = "dragoman.look.ahead";

    private @Nullable LookAhead lookAhead;

    @Override
    public void configure(Map<String, ?> settings) {
        lookAhead = (LookAhead) settings.get(LOOK_AHEAD);
    }

    @Override
    public ConsumerRecords<byte[], byte[]> onConsume(ConsumerRecords<byte[], byte[]> records) {
        if (lookAhead != null) {
            lookAhead.submit(records);
        }
        return records;
    }

    @Override
    public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {}

    @Override
    public void close() {}
}
