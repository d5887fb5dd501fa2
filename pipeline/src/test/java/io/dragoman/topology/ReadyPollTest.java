package io.dragoman.topology;

import static io.dragoman.topology.FakeInstance.polled;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.MockConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InterruptException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class ReadyPollTest {
    private static final String TOPIC = "dragoman.sentences";
    private static final TopicPartition FIRST = new TopicPartition(TOPIC, 0);
    private static final TopicPartition SECOND = new TopicPartition(TOPIC, 1);

    private final MockConsumer<byte[], byte[]> consumer = new MockConsumer<>("earliest");
    private final Told results = new Told();
    /** Room for ten, two at a time, as the consumer polls. */
    private final ReadyPoll ready = new ReadyPoll(results, 10, 2);

    private final List<String> told = new ArrayList<>();
    private Duration timeout = Duration.ofMillis(20);
    private boolean begun;

    /** What a test says is known; the waits do what it has planned for them. */
    private static final class Told implements ReadyPoll.Results {
        private final Set<String> due = new HashSet<>();
        private final Deque<Runnable> waits = new ArrayDeque<>();
        private boolean ending;
        private boolean busy;
        private long rung;
        private int awaited;

        void know(String... places) {
            due.addAll(Arrays.asList(places));
            rung++;
        }

        @Override
        public boolean isDue(ConsumerRecord<byte[], byte[]> record) {
            return ending || due.contains(place(record));
        }

        @Override
        public boolean isEnding() {
            return ending;
        }

        @Override
        public boolean isBusy() {
            return busy;
        }

        @Override
        public long rung() {
            return rung;
        }

        @Override
        public void await(long before, Duration most) throws InterruptedException {
            assertTrue(
                    most.compareTo(busy ? ReadyPoll.BUSY_INTERVAL : ReadyPoll.INTERVAL) <= 0,
                    "others may have something to say");
            awaited++;
            if (!waits.isEmpty()) {
                waits.remove().run();
            }
            if (rung == before) {
                TimeUnit.NANOSECONDS.sleep(most.toNanos());
            }
        }
    }

    @BeforeEach
    void subscribe() {
        consumer.setMaxPollRecords(2);
        consumer.subscribe(List.of(TOPIC), ready.watching(listener(), consumer));
        consumer.rebalance(List.of(FIRST, SECOND));
        consumer.updateBeginningOffsets(Map.of(FIRST, 0L, SECOND, 0L));
        consumer.updateEndOffsets(Map.of(FIRST, 100L, SECOND, 100L));
        told.clear();
        begun = true;
    }

    private ConsumerRebalanceListener listener() {
        return new ConsumerRebalanceListener() {
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
                told.add("assigned " + partitions + " paused " + consumer.paused());
                if (begun) {
                    consumer.pause(partitions); // as Kafka Streams does until their tasks have begun
                }
            }
        };
    }

    private void arrive(TopicPartition partition, long from, long to) {
        for (long offset = from; offset < to; offset++) {
            consumer.addRecord(polled(TOPIC, partition.partition(), offset, new byte[] {1}));
        }
    }

    private ConsumerRecords<byte[], byte[]> poll() {
        return ready.poll(timeout, consumer::poll, consumer);
    }

    private static List<String> places(ConsumerRecords<byte[], byte[]> records) {
        return StreamSupport.stream(records.spliterator(), false)
                .map(ReadyPollTest::place)
                .toList();
    }

    private static String place(ConsumerRecord<byte[], byte[]> record) {
        return record.partition() + "/" + record.offset();
    }

    /** Polls until nothing more is read. */
    private void readAll() {
        assertTrue(poll().isEmpty());
    }

    @Test
    void shouldBringNothingThatIsNotKnown() {
        arrive(FIRST, 0, 3);
        readAll();
        assertEquals(3, consumer.position(FIRST), "it was read");
        results.know("0/1", "0/2");
        assertTrue(poll().isEmpty(), "the first of its partition is not known");
        results.know("0/0");
        assertEquals(List.of("0/0", "0/1"), places(poll()), "two at a time");
        assertEquals(List.of("0/2"), places(poll()));
    }

    @Test
    void shouldReadOnWhileItWaits() {
        arrive(FIRST, 0, 1);
        results.waits.add(() -> arrive(SECOND, 0, 1));
        results.waits.add(() -> {
            assertEquals(1, consumer.position(SECOND), "what came meanwhile is read");
            results.know("1/0");
        });
        timeout = Duration.ofSeconds(30);
        assertEquals(List.of("1/0"), places(poll()), "the others do not wait for it");
        assertEquals(0, ready.position(FIRST));
    }

    @Test
    void shouldReadABurstAtOnce() {
        arrive(FIRST, 0, 7);
        timeout = Duration.ofSeconds(30);
        results.waits.add(() -> {
            assertEquals(7, consumer.position(FIRST));
            results.know("0/0");
        });
        assertEquals(List.of("0/0"), places(poll()));
        assertEquals(1, results.awaited);
    }

    @Test
    void shouldLookForMoreLessOftenWhileThereIsEnoughToDo() {
        arrive(FIRST, 0, 1);
        readAll();
        List<Long> polls = new ArrayList<>();
        consumer.schedulePollTask(() -> polls.add(System.nanoTime()));
        consumer.schedulePollTask(() -> polls.add(System.nanoTime()));
        results.busy = true;
        timeout = ReadyPoll.BUSY_INTERVAL.multipliedBy(3);
        readAll();
        assertEquals(2, polls.size());
        assertTrue(polls.get(1) - polls.get(0) >= ReadyPoll.BUSY_INTERVAL.toNanos());
        results.waits.add(() -> results.know("0/0"));
        assertEquals(List.of("0/0"), places(poll()), "a result is not waited for any longer");
    }

    @Test
    void shouldBringMoreAtOnceWhileThereIsEnoughToDo() {
        arrive(FIRST, 0, 4);
        readAll();
        results.busy = true;
        results.know("0/0");
        timeout = Duration.ofSeconds(30);
        assertEquals(List.of("0/0"), places(poll()), "nothing was brought for long");
        long begin = System.nanoTime();
        results.know("0/1");
        results.waits.add(() -> results.know("0/2"));
        assertEquals(List.of("0/1", "0/2"), places(poll()));
        assertTrue(System.nanoTime() - begin < timeout.toNanos());
        results.know("0/3");
        results.busy = false;
        begin = System.nanoTime();
        assertEquals(List.of("0/3"), places(poll()));
        assertTrue(System.nanoTime() - begin < ReadyPoll.BUSY_INTERVAL.toNanos(), "at once");
    }

    @Test
    void shouldReturnWhenTheTimeIsUp() {
        arrive(FIRST, 0, 1);
        long begin = System.nanoTime();
        assertTrue(poll().isEmpty());
        assertTrue(System.nanoTime() - begin >= timeout.toNanos());
    }

    @Test
    void shouldBringWhatIsKnownAtOnce() {
        results.know("0/0");
        List<String> polls = new ArrayList<>();
        consumer.schedulePollTask(() -> {
            polls.add("first");
            arrive(FIRST, 0, 1);
        });
        consumer.schedulePollTask(() -> polls.add("second"));
        assertEquals(List.of("0/0"), places(poll()));
        assertEquals(List.of("first"), polls, "it does not read on before");
    }

    @Test
    void shouldReturnWhenNothingIsHeld() {
        assertTrue(poll().isEmpty());
        assertEquals(0, results.awaited);
    }

    @Test
    void shouldReadNoMoreThanThereIsRoomFor() {
        arrive(FIRST, 0, 50);
        timeout = Duration.ofMillis(100);
        readAll();
        assertEquals(10, consumer.position(FIRST));
        assertEquals(Set.of(), consumer.paused(), "but for the time of a poll");
        List<String> polls = new ArrayList<>();
        consumer.schedulePollTask(() -> polls.add("paused " + consumer.paused().size()));
        readAll();
        assertEquals(List.of("paused 2"), polls, "the group hears of a consumer that has no room");
        results.know("0/0", "0/1");
        assertEquals(List.of("0/0", "0/1"), places(poll()));
        readAll();
        assertEquals(12, consumer.position(FIRST));
    }

    @Test
    void shouldLeaveAloneWhatIsPausedWhenThereIsNoRoom() {
        arrive(FIRST, 0, 10);
        readAll();
        consumer.pause(List.of(SECOND));
        readAll();
        assertEquals(Set.of(SECOND), consumer.paused());
    }

    @Test
    void shouldBringNothingOfAPausedPartition() {
        arrive(FIRST, 0, 1);
        arrive(SECOND, 0, 1);
        readAll();
        results.know("0/0", "1/0");
        consumer.pause(List.of(FIRST));
        assertEquals(List.of("1/0"), places(poll()));
        ConsumerRecords<byte[], byte[]> nothing = poll();
        assertTrue(nothing.isEmpty());
        assertEquals(Set.of(), nothing.nextOffsets().keySet());
        consumer.resume(List.of(FIRST));
        assertEquals(List.of("0/0"), places(poll()));
    }

    @Test
    void shouldLetPartitionsTakeTurns() {
        arrive(FIRST, 0, 4);
        arrive(SECOND, 0, 4);
        readAll();
        results.know("0/0", "0/1", "0/2", "0/3", "1/0", "1/1", "1/2", "1/3");
        List<String> first = places(poll());
        List<String> second = places(poll());
        assertEquals(Set.of("0/0", "0/1", "1/0", "1/1"), Set.copyOf(joined(first, second)));
        assertEquals(Set.of("0/2", "0/3", "1/2", "1/3"), Set.copyOf(joined(places(poll()), places(poll()))));
    }

    private static List<String> joined(List<String> some, List<String> others) {
        List<String> all = new ArrayList<>(some);
        all.addAll(others);
        return all;
    }

    @Test
    void shouldSayWhereToGoOn() {
        arrive(FIRST, 0, 3);
        arrive(SECOND, 0, 1);
        readAll();
        assertEquals(0, ready.position(FIRST));
        results.know("0/0");
        assertEquals(1, poll().nextOffsets().get(FIRST).offset(), "before what is held");
        assertEquals(1, ready.position(FIRST));
        results.know("0/1", "0/2");
        ConsumerRecords<byte[], byte[]> last = poll();
        assertEquals(Set.of(FIRST), last.nextOffsets().keySet());
        assertEquals(3, last.nextOffsets().get(FIRST).offset());
        assertNull(ready.position(FIRST), "the consumer's own");
        assertEquals(0, ready.position(SECOND));
    }

    @Test
    void shouldDropWhatIsTakenAway() {
        arrive(FIRST, 0, 2);
        arrive(SECOND, 0, 1);
        readAll();
        results.know("0/0", "0/1");
        consumer.schedulePollTask(() -> {
            consumer.rebalance(List.of(SECOND));
            arrive(SECOND, 1, 2);
        });
        sleepAnInterval();
        long begin = System.nanoTime();
        timeout = Duration.ofSeconds(30);
        ConsumerRecords<byte[], byte[]> records = poll();
        assertTrue(System.nanoTime() - begin < timeout.toNanos(), "Kafka Streams sees to its tasks");
        assertTrue(records.isEmpty());
        assertEquals(Set.of(), records.nextOffsets().keySet());
        assertEquals(List.of("revoked [" + FIRST + "]", "assigned [] paused []"), told);
        results.know("1/0", "1/1");
        assertEquals(List.of("1/0", "1/1"), places(poll()), "what stays, stays in order");
    }

    @Test
    void shouldLeavePausedWhatARebalanceHasPaused() {
        arrive(FIRST, 0, 10);
        timeout = Duration.ofMillis(100);
        readAll();
        TopicPartition third = new TopicPartition(TOPIC, 2);
        consumer.updateBeginningOffsets(Map.of(third, 0L));
        consumer.schedulePollTask(() -> consumer.rebalance(List.of(FIRST, SECOND, third)));
        readAll();
        assertEquals(List.of("assigned [" + third + "] paused []"), told, "it sees nothing of ours");
        assertEquals(Set.of(third), consumer.paused());
    }

    @Test
    void shouldPassALossOnAndDropWhatIsLost() {
        arrive(FIRST, 0, 2);
        arrive(SECOND, 0, 1);
        readAll();
        ready.watching(listener(), consumer).onPartitionsLost(List.of(FIRST));
        assertEquals(List.of("lost [" + FIRST + "]"), told);
        results.know("0/0", "0/1", "1/0");
        assertEquals(List.of("1/0"), places(poll()));
    }

    @Test
    void shouldDropWhatKafkaStreamsGoesAwayFrom() {
        arrive(FIRST, 0, 2);
        arrive(SECOND, 0, 1);
        readAll();
        results.know("0/0", "0/1", "1/0");
        ready.leave(List.of(FIRST));
        assertEquals(List.of("1/0"), places(poll()));
        assertTrue(poll().isEmpty());
        arrive(FIRST, 2, 3);
        arrive(SECOND, 1, 2);
        results.due.clear();
        readAll();
        ready.leaveAll();
        results.know("0/2", "1/1");
        assertTrue(poll().isEmpty());
        assertEquals(Map.of(), poll().nextOffsets());
    }

    @Test
    void shouldKeepWhatIsHeldWhenAPollFails() {
        arrive(FIRST, 0, 2);
        readAll();
        sleepAnInterval();
        KafkaException fault = new KafkaException("no");
        consumer.schedulePollTask(() -> consumer.setPollException(fault));
        assertSame(fault, assertThrows(KafkaException.class, this::poll));
        results.know("0/0", "0/1");
        assertEquals(List.of("0/0", "0/1"), places(poll()));
    }

    @Test
    void shouldBringAllWhenTheInstanceEndsAndReadNoMore() {
        arrive(FIRST, 0, 5);
        readAll();
        arrive(FIRST, 5, 7);
        results.ending = true;
        assertEquals(List.of("0/0", "0/1", "0/2", "0/3", "0/4"), places(poll()));
        assertTrue(poll().isEmpty());
        assertEquals(5, consumer.position(FIRST));
    }

    @Test
    void shouldEndWhenItsThreadIsInterrupted() {
        arrive(FIRST, 0, 1);
        results.waits.add(() -> Thread.currentThread().interrupt());
        assertThrows(InterruptException.class, this::poll);
        assertTrue(Thread.interrupted());
    }

    private static void sleepAnInterval() {
        try {
            Thread.sleep(ReadyPoll.INTERVAL.toMillis());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
