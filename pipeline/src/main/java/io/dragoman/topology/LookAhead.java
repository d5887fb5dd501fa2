package io.dragoman.topology;

import io.dragoman.config.Priority;
import io.dragoman.ingest.Ingested;
import io.dragoman.ingest.Origin;
import io.dragoman.metrics.Meters;
import io.dragoman.metrics.Metric;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Headers;
import org.jspecify.annotations.Nullable;

/**
 * Sentences that were read and handed to the model before their turn to be processed: what lets batches form across all
 * partitions, tasks and threads of an instance while each record is processed, and its offset committed, in order.
 *
 * <p>The story of a record:
 *
 * <ol>
 *   <li>A stream thread polls it. {@link LookAheadInterceptor} calls {@link #submit}: it is tokenized and queued.
 *   <li>{@link ReadyPoll} holds the record back, in order, until it {@link #isDue}: until its result is known.
 *   <li>Its turn comes: Kafka Streams gets it, and {@link TranslateProcessor} calls {@link #take}. It forwards the
 *       records made from the result, and only now does its offset become one that may be committed, in the same transaction as
 *       they are.
 *   <li>After a crash the offset was not committed, so another instance polls the record again: nothing is kept but the
 *       input topic itself.
 * </ol>
 *
 * <p>A record that was not looked ahead (a test driver without a consumer, an error in the interceptor) is submitted by
 * the processor itself.
 *
 * <p>When the story is cut short:
 *
 * <ul>
 *   <li><b>A partition is revoked.</b> Its task closes and {@link #forget} drops what was submitted for it. Sentences that
 *       wait in a queue are translated for nothing, and nobody waits for them: every future completes.
 *   <li><b>It migrates</b>, to another instance or to another thread of this one: its records are polled there and submitted
 *       again, and give the same answer. A thread that finds an entry of before takes it: the answer belongs to partition
 *       and offset, not to a thread.
 *   <li><b>Work is cancelled</b> when a text is given up because one of its pieces failed: a cancelled future is complete,
 *       and its piece is not run when its batch has not begun.
 *   <li><b>An instance stood still</b> past its session timeout, its partitions were given away, and it wakes: what it
 *       forwards goes into a transaction of an epoch that the brokers have fenced, so no reader ever sees it. Kafka Streams
 *       closes its tasks as lost, which is a revocation as above, and joins again.
 *   <li><b>The instance ends</b>: {@link #stop} first, so that nothing is looked ahead whose turn will not come.
 * </ul>
 *
 * <p>Memory: one entry for each record that is held back or in Kafka Streams' buffers, of a stream thread at most {@code
 * read.ahead.rows} and one poll. Threading: shared by all stream threads of the instance.
 */
final class LookAhead implements ReadyPoll.Results {
    private static final ConcurrentSkipListMap<Long, Intake.Taken> NONE = new ConcurrentSkipListMap<>();
    /**
     * Whoever is first of a partition stands far ahead in the line of those that wait for a batch, too. To put all of them before
     * everybody else would make urgent sentences wait for them; but none should wait for long.
     */
    static final Duration HURRY = Duration.ofMillis(250);

    private final String topic;
    private final Intake intake;
    private final Duration patience;
    private final Meters meters;
    private final Map<Integer, ConcurrentSkipListMap<Long, Intake.Taken>> taken = new ConcurrentHashMap<>();
    /** Of each partition, the stream thread that read from it last. */
    private final Map<Integer, Thread> readers = new ConcurrentHashMap<>();

    private final AtomicLong forgotten = new AtomicLong();
    private final Object bell = new Object();
    /** Guarded by the bell. */
    private long rung;

    private volatile boolean stopped;

    /** @param patience how long a record whose turn has come is waited for before it goes to the processor unknown */
    LookAhead(String topic, Intake intake, Duration patience, Meters meters) {
        this.meters = meters;
        meters.watch(Metric.READ_AHEAD_RECORDS, this::size);
        this.topic = topic;
        this.intake = intake;
        this.patience = patience;
        intake.whenKnown(this::ring);
    }

    private void ring() {
        synchronized (bell) {
            rung++;
            bell.notifyAll();
        }
    }

    @Override
    public boolean isEnding() {
        return stopped;
    }

    @Override
    public boolean isBusy() {
        return intake.isBusy();
    }

    @Override
    public long rung() {
        synchronized (bell) {
            return rung;
        }
    }

    @Override
    public void await(long before, Duration most) throws InterruptedException {
        long end = System.nanoTime() + most.toNanos();
        synchronized (bell) {
            for (long left = end - System.nanoTime(); rung == before && left > 0; left = end - System.nanoTime()) {
                TimeUnit.NANOSECONDS.timedWait(bell, left);
            }
        }
    }

    /** What nothing is known of was not looked ahead, and is not waited for. */
    @Override
    public boolean isDue(ConsumerRecord<byte[], byte[]> record) {
        Intake.Taken found = taken.getOrDefault(record.partition(), NONE).get(record.offset());
        if (stopped || found == null || found.isKnown()) {
            return true;
        }
        Intake.Taken.UnderWay underWay = (Intake.Taken.UnderWay) found;
        Duration awaited = underWay.awaited();
        if (awaited.compareTo(HURRY) >= 0) {
            underWay.hurry();
        }
        return awaited.compareTo(patience) >= 0;
    }

    /** Submits every record of the input topic that is not submitted yet; tombstones are left to the processor. */
    void submit(ConsumerRecords<byte[], byte[]> records) {
        if (stopped) {
            return;
        }
        for (TopicPartition partition : records.partitions()) {
            if (!partition.topic().equals(topic)) {
                continue;
            }
            readers.put(partition.partition(), Thread.currentThread());
            submit(records.records(partition), entries(partition.partition()));
        }
    }

    /** Whoever stands before a text of a higher priority in its partition goes with it: it could not come out otherwise. */
    private void submit(
            List<ConsumerRecord<byte[], byte[]>> records, ConcurrentSkipListMap<Long, Intake.Taken> entries) {
        @Nullable Reading[] readings = new Reading[records.size()];
        Priority needed = Priority.LOW;
        for (int i = records.size() - 1; i >= 0; i--) {
            ConsumerRecord<byte[], byte[]> record = records.get(i);
            byte @Nullable [] value = record.value();
            if (value == null || entries.containsKey(record.offset())) {
                continue;
            }
            Origin origin = new Origin(topic, record.partition(), record.offset(), record.timestamp());
            Ingested ingested = intake.read(origin, record.headers(), value);
            if (ingested instanceof Ingested.Accepted accepted) {
                needed = needed.or(accepted.text().priority());
            }
            readings[i] = new Reading(ingested, needed);
        }
        for (int i = 0; i < readings.length; i++) {
            Reading reading = readings[i];
            if (reading != null) {
                entries.computeIfAbsent(
                        records.get(i).offset(), absent -> intake.submit(reading.ingested(), reading.priority()));
            }
        }
    }

    private record Reading(Ingested ingested, Priority priority) {}

    /** What was submitted for a record, submitting it now if nothing was; drops it and everything before it. */
    Intake.Taken take(Origin origin, Headers headers, byte[] value) {
        ConcurrentSkipListMap<Long, Intake.Taken> entries = entries(origin.partition());
        Intake.Taken found = entries.get(origin.offset());
        for (Iterator<Long> passed =
                        entries.headMap(origin.offset(), true).keySet().iterator();
                passed.hasNext(); ) {
            passed.next();
            passed.remove();
        }
        return found != null ? found : intake.take(origin, headers, value);
    }

    /** Whether nothing that the calling stream thread read can be published now, and not enough waits to keep the models busy. */
    boolean isDrained() {
        return heads().stream().noneMatch(Intake.Taken::isKnown) && !isBusy();
    }

    /** What comes next of each partition that the calling stream thread reads. */
    private List<Intake.Taken> heads() {
        Thread reader = Thread.currentThread();
        return readers.entrySet().stream()
                .filter(entry -> entry.getValue() == reader)
                .map(entry -> taken.getOrDefault(entry.getKey(), NONE).firstEntry())
                .filter(Objects::nonNull)
                .map(Map.Entry::getValue)
                .toList();
    }

    /** Called when this instance no longer owns the partition. */
    void forget(int partition) {
        readers.remove(partition);
        ConcurrentSkipListMap<Long, Intake.Taken> entries = taken.remove(partition);
        if (entries != null) {
            forgotten.addAndGet(entries.size());
            meters.counter(Metric.FORGOTTEN_RECORDS).increment((double) entries.size());
        }
    }

    /** The instance ends: what is polled from now on is not looked ahead, because its turn will not come. */
    void stop() {
        stopped = true;
        ring();
    }

    /** How many were submitted and forgotten before their turn came: whoever has their partition now translates them again. */
    long forgotten() {
        return forgotten.get();
    }

    /** Entries held, for tests and metrics. */
    int size() {
        return taken.values().stream().mapToInt(Map::size).sum();
    }

    private ConcurrentSkipListMap<Long, Intake.Taken> entries(int partition) {
        return taken.computeIfAbsent(partition, p -> new ConcurrentSkipListMap<>());
    }
}
