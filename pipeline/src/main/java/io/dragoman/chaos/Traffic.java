package io.dragoman.chaos;

import io.dragoman.config.TopicNames;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.jspecify.annotations.Nullable;

/**
 * A producer of numbered sentences at a steady rate, over all partitions in turn, and a {@code read_committed} reader of
 * everything that comes of them from the topics' first record on. A sentence's key is its partition and number.
 *
 * <p>Threading: two threads of its own, which write the {@link Ledger}; the methods are for one other.
 */
final class Traffic implements AutoCloseable {
    private static final List<String> SENTENCES = List.of(
            "Voici la phrase numéro %d.",
            "Il est %d heures.",
            "Nous avons lu %d pages de ce livre.",
            "Merci.",
            "Je ne sais pas où se trouve la maison numéro %d.",
            "Elle a %d ans.");
    /** Far longer than any fault: the producer never gives a sentence up. */
    private static final String FOREVER = String.valueOf(TimeUnit.HOURS.toMillis(2));

    private final TopicNames topics;
    private final int partitions;
    private final Duration interval;
    private final Ledger ledger;
    private final KafkaProducer<String, String> producer;
    private final KafkaConsumer<String, byte[]> consumer;
    private final Thread sender = new Thread(this::send, "dragoman-chaos-sender");
    private final Thread reader = new Thread(this::read, "dragoman-chaos-reader");
    private final AtomicInteger burst = new AtomicInteger();
    private final Queue<String> poison = new ConcurrentLinkedQueue<>();
    /** Keys of the sentences that are meant to be rejected. */
    private final Set<String> poisoned = ConcurrentHashMap.newKeySet();

    private final AtomicReference<@Nullable Exception> failure = new AtomicReference<>();
    private volatile boolean sending = true;
    private volatile boolean reading = true;

    /** @param rate sentences a second */
    Traffic(String bootstrapServers, TopicNames topics, int partitions, double rate) {
        this.topics = topics;
        this.partitions = partitions;
        this.interval = Duration.ofNanos((long) (1e9 / rate));
        this.ledger = new Ledger(List.of(topics.translations(), topics.alignments()), partitions);
        this.producer = new KafkaProducer<>(
                Map.of(
                        "bootstrap.servers", bootstrapServers,
                        "acks", "all",
                        "enable.idempotence", "true",
                        "delivery.timeout.ms", FOREVER,
                        "max.block.ms", FOREVER,
                        "request.timeout.ms", "10000",
                        "enable.metrics.push", "false"),
                new StringSerializer(),
                new StringSerializer());
        this.consumer = new KafkaConsumer<>(
                Map.of(
                        "bootstrap.servers", bootstrapServers,
                        "isolation.level", "read_committed",
                        "auto.offset.reset", "none", // records that vanish should be told, not read again
                        "default.api.timeout.ms", FOREVER,
                        "enable.metrics.push", "false"),
                new StringDeserializer(),
                new org.apache.kafka.common.serialization.ByteArrayDeserializer());
        sender.setDaemon(true);
        reader.setDaemon(true);
    }

    void start() {
        sender.start();
        reader.start();
    }

    Ledger ledger() {
        return ledger;
    }

    /** Sends so many at once. */
    void burst(int sentences) {
        burst.addAndGet(sentences);
    }

    /** Sends this text next, and expects it to be rejected. */
    void poison(String text) {
        poison.add(text);
    }

    /** Rethrows what stopped a thread. */
    void check() throws ChaosException {
        Exception e = failure.get();
        if (e != null) {
            throw new ChaosException("sending or reading failed: " + e.getMessage(), e);
        }
    }

    private void send() {
        try {
            long due = System.nanoTime();
            for (long count = 0; sending; count++) {
                int partition = (int) (count % partitions);
                int number = ledger.sent(partition, System.nanoTime());
                String key = partition + ":" + number;
                String bad = poison.poll();
                if (bad != null) {
                    poisoned.add(key);
                }
                String sentence = bad != null
                        ? bad
                        : String.format(SENTENCES.get((int) (count / partitions % SENTENCES.size())), number);
                var unused = producer.send(
                        new ProducerRecord<>(topics.sentences(), partition, key, sentence), (metadata, e) -> {
                            if (e != null && sending) {
                                failure.compareAndSet(null, e);
                            }
                        });
                if (burst.getAndUpdate(left -> Math.max(0, left - 1)) == 0) {
                    due += interval.toNanos();
                    TimeUnit.NANOSECONDS.sleep(Math.max(0, due - System.nanoTime()));
                }
            }
            producer.flush();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException e) {
            failure.compareAndSet(null, e);
        }
    }

    private void read() {
        try {
            List<TopicPartition> all = new ArrayList<>();
            for (String topic : List.of(topics.translations(), topics.alignments(), topics.rejections())) {
                for (int partition = 0; partition < partitions; partition++) {
                    all.add(new TopicPartition(topic, partition));
                }
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            while (reading) {
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofMillis(50))) {
                    note(record);
                }
                ledger.tick(System.nanoTime());
            }
        } catch (KafkaException | IllegalArgumentException | IllegalStateException e) {
            failure.compareAndSet(null, e);
        } finally {
            consumer.close();
        }
    }

    /** A rejection is no answer, its sentence stays lost, unless it was meant to be rejected. */
    private void note(ConsumerRecord<String, byte[]> record) {
        String[] key = record.key().split(":", 2);
        if (record.topic().equals(topics.rejections())) {
            if (poisoned.contains(record.key())) {
                ledger.excused(record.partition(), Long.parseLong(key[1]));
            }
            return;
        }
        if (Integer.parseInt(key[0]) != record.partition()) {
            throw new IllegalStateException(record.key() + " came out of partition " + record.partition());
        }
        ledger.arrived(record.topic(), record.partition(), Long.parseLong(key[1]), System.nanoTime());
    }

    /** No more sentences; returns once the cluster has all of them. */
    void stopSending() throws InterruptedException, ChaosException {
        sending = false;
        sender.join();
        check();
    }

    @Override
    public void close() {
        sending = false;
        reading = false;
        sender.interrupt();
        producer.close(Duration.ZERO);
        try {
            sender.join();
            reader.join(TimeUnit.SECONDS.toMillis(10));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
