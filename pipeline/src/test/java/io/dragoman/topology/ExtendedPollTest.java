package io.dragoman.topology;

import static io.dragoman.topology.FakeInstance.polled;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.MockConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ExtendedPollTest {
    private static final String TOPIC = "dragoman.sentences";
    private static final TopicPartition FIRST = new TopicPartition(TOPIC, 0);
    private static final TopicPartition SECOND = new TopicPartition(TOPIC, 1);

    private final MockConsumer<byte[], byte[]> consumer = new MockConsumer<>("earliest");
    private final List<Duration> waits = new ArrayList<>();
    private final List<String> told = new ArrayList<>();
    private final ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            told.add("revoked " + partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            told.add("lost " + partitions);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            told.add("assigned " + partitions);
        }
    };
    private boolean waiting = true;

    @BeforeEach
    void subscribe() {
        consumer.setMaxPollRecords(2);
    }

    /** Room for ten, two at a time, as the consumer polls. */
    private ExtendedPoll extended() {
        ExtendedPoll extended = new ExtendedPoll(() -> waiting, 10, 2);
        consumer.subscribe(List.of(TOPIC), extended.watching(listener));
        consumer.rebalance(List.of(FIRST, SECOND));
        consumer.updateBeginningOffsets(Map.of(FIRST, 0L, SECOND, 0L));
        told.clear();
        return extended;
    }

    private void arrive(TopicPartition partition, long from, long to) {
        for (long offset = from; offset < to; offset++) {
            consumer.addRecord(polled(TOPIC, partition.partition(), offset, new byte[] {1}));
        }
    }

    private ConsumerRecords<byte[], byte[]> poll(ExtendedPoll extended) {
        return extended.poll(
                Duration.ofMillis(20),
                timeout -> {
                    waits.add(timeout);
                    return consumer.poll(timeout);
                },
                consumer);
    }

    private static List<String> places(ConsumerRecords<byte[], byte[]> records) {
        return StreamSupport.stream(records.spliterator(), false)
                .map(ExtendedPollTest::place)
                .sorted()
                .toList();
    }

    private static String place(ConsumerRecord<byte[], byte[]> record) {
        return record.partition() + "/" + record.offset();
    }

    @Test
    void shouldReadOnWhileNothingIsTranslated() {
        ExtendedPoll extended = extended();
        arrive(FIRST, 0, 5);
        consumer.schedulePollTask(() -> {});
        consumer.schedulePollTask(() -> arrive(SECOND, 0, 1));
        ConsumerRecords<byte[], byte[]> records = poll(extended);
        assertEquals(List.of("0/0", "0/1", "0/2", "0/3", "0/4", "1/0"), places(records));
        assertEquals(5, records.nextOffsets().get(FIRST).offset());
        assertEquals(1, records.nextOffsets().get(SECOND).offset());
        assertEquals(
                List.of(Duration.ofMillis(20), ExtendedPoll.MORE, ExtendedPoll.MORE, ExtendedPoll.MORE),
                waits,
                "until one brings nothing");
    }

    @Test
    void shouldKeepTheOrderOfAPartition() {
        ExtendedPoll extended = extended();
        arrive(FIRST, 0, 7);
        List<ConsumerRecord<byte[], byte[]>> records = poll(extended).records(FIRST);
        assertEquals(
                List.of(0L, 1L, 2L, 3L, 4L, 5L, 6L),
                records.stream().map(ConsumerRecord::offset).toList());
    }

    @Test
    void shouldEndWithTheFirstResult() {
        ExtendedPoll extended = extended();
        arrive(FIRST, 0, 8);
        consumer.schedulePollTask(() -> {});
        consumer.schedulePollTask(() -> waiting = false);
        assertEquals(4, poll(extended).count());
        assertEquals(2, waits.size());
    }

    @Test
    void shouldReadNoMoreThanThereIsRoomFor() {
        ExtendedPoll extended = extended();
        arrive(FIRST, 0, 50);
        assertEquals(10, poll(extended).count());
        assertEquals(10, consumer.position(FIRST));
    }

    @Test
    void shouldReturnAtOnceWhenNothingCame() {
        assertTrue(poll(extended()).isEmpty());
        assertEquals(List.of(Duration.ofMillis(20)), waits);
    }

    @Test
    void shouldDropWhatWasReadOfAPartitionThatIsTakenAwayMeanwhile() {
        ExtendedPoll extended = extended();
        arrive(FIRST, 0, 2);
        consumer.schedulePollTask(() -> {});
        consumer.schedulePollTask(() -> {
            consumer.rebalance(List.of(SECOND));
            arrive(SECOND, 0, 2);
        });
        ConsumerRecords<byte[], byte[]> records = poll(extended);
        assertEquals(List.of("1/0", "1/1"), places(records));
        assertEquals(Set.of(SECOND), records.nextOffsets().keySet());
        assertEquals(2, waits.size(), "Kafka Streams sees to its tasks before more is read");
        assertEquals(List.of("revoked [" + FIRST + "]", "assigned []"), told);
    }

    @Test
    void shouldKeepWhatWasReadOfAPartitionThatStays() {
        ExtendedPoll extended = extended();
        arrive(SECOND, 0, 2);
        consumer.schedulePollTask(() -> {});
        consumer.schedulePollTask(() -> consumer.rebalance(List.of(SECOND)));
        assertEquals(List.of("1/0", "1/1"), places(poll(extended)));
    }

    @Test
    void shouldPassALossOnAndDropWhatIsLost() {
        ExtendedPoll extended = extended();
        ConsumerRebalanceListener watching = extended.watching(listener);
        arrive(FIRST, 0, 2);
        arrive(SECOND, 0, 1);
        consumer.setMaxPollRecords(3);
        consumer.schedulePollTask(() -> {});
        consumer.schedulePollTask(() -> watching.onPartitionsLost(List.of(FIRST)));
        assertEquals(List.of("1/0"), places(poll(extended)));
        assertEquals(List.of("lost [" + FIRST + "]"), told);
    }

    @Test
    void shouldHaveReadNothingWhenALaterPollFails() {
        ExtendedPoll extended = extended();
        arrive(FIRST, 0, 2);
        KafkaException fault = new KafkaException("no");
        consumer.schedulePollTask(() -> {});
        consumer.schedulePollTask(() -> consumer.setPollException(fault));
        assertSame(fault, assertThrows(KafkaException.class, () -> poll(extended)));
        assertEquals(0, consumer.position(FIRST));
        assertEquals(0, consumer.position(SECOND));
    }
}
