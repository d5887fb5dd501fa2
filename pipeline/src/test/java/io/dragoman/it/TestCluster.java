package io.dragoman.it;

import io.dragoman.broker.EmbeddedBroker;
import io.dragoman.config.DragomanConfig;
import io.dragoman.config.TopicNames;
import io.dragoman.schema.TrustedRecords;
import io.dragoman.topology.Pipeline;
import io.dragoman.topology.Topics;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A broker of its own for a test class; each test takes its own topic prefix and application id. */
final class TestCluster implements AutoCloseable {
    static final Path HOME =
            Path.of(System.getProperty("dragoman.home", "..")).toAbsolutePath().normalize();
    static final Duration PATIENCE = Duration.ofSeconds(120);

    private final Path folder;
    private final EmbeddedBroker broker;
    private final KafkaProducer<byte[], byte[]> producer;

    TestCluster(Path folder) throws Exception {
        TrustedRecords.register();
        this.folder = folder;
        this.broker = EmbeddedBroker.start(folder.resolve("broker"), 0);
        this.producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", broker.bootstrapServers(), "acks", "all"),
                new ByteArraySerializer(),
                new ByteArraySerializer());
    }

    String bootstrapServers() {
        return broker.bootstrapServers();
    }

    /** Settings of a pipeline of its own, with its topics made. */
    Map<String, String> settings(String name, Map<String, String> over) throws Exception {
        Map<String, String> settings = new HashMap<>();
        settings.put(DragomanConfig.BOOTSTRAP_SERVERS, bootstrapServers());
        settings.put(DragomanConfig.APPLICATION_ID, name);
        settings.put(DragomanConfig.TOPIC_PREFIX, name);
        settings.put(DragomanConfig.TOPIC_PARTITIONS, "3");
        settings.put(DragomanConfig.STATE_DIR, folder.resolve("state-" + name).toString());
        settings.putAll(over);
        Topics.create(DragomanConfig.of(settings));
        return settings;
    }

    /** A pipeline in this JVM, running. */
    Pipeline start(Map<String, String> settings) throws Exception {
        Pipeline pipeline = Pipeline.open(DragomanConfig.of(settings), HOME);
        pipeline.start();
        if (!pipeline.awaitRunning(PATIENCE)) {
            pipeline.close();
            throw new AssertionError("the pipeline is " + pipeline.state());
        }
        return pipeline;
    }

    void send(String topic, int partition, String key, byte[] value, Header... headers) throws Exception {
        byte[] keyBytes = key == null ? null : key.getBytes(StandardCharsets.UTF_8);
        producer.send(new ProducerRecord<>(topic, partition, null, keyBytes, value, List.of(headers)))
                .get();
    }

    void send(String topic, int partition, String key, String text) throws Exception {
        send(topic, partition, key, text.getBytes(StandardCharsets.UTF_8));
    }

    /** Without waiting for each; {@link #flush} does. */
    void sendSoon(String topic, int partition, String key, String text) {
        producer.send(new ProducerRecord<>(
                topic, partition, key.getBytes(StandardCharsets.UTF_8), text.getBytes(StandardCharsets.UTF_8)));
    }

    void flush() {
        producer.flush();
    }

    static Header header(String name, String value) {
        return new RecordHeader(name, value.getBytes(StandardCharsets.UTF_8));
    }

    /** How many records of a topic are committed, once there are more than {@code count}. */
    int awaitMoreThan(String topic, int count) {
        return read(topic, records -> records.size() > count, Duration.ZERO).size();
    }

    /** Everything committed in a topic from its beginning, at least {@code count}; fails when it stays less. */
    List<ConsumerRecord<byte[], byte[]>> read(String topic, int count) {
        return read(topic, records -> records.size() >= count, Duration.ofMillis(500));
    }

    /** Everything in a topic once it has records of {@code count} keys. */
    List<ConsumerRecord<byte[], byte[]>> readKeys(String topic, int count) {
        return read(
                topic,
                records -> records.stream()
                                .map(record -> text(record.key()))
                                .distinct()
                                .count()
                        >= count,
                Duration.ofMillis(500));
    }

    /** What should not be there would come within {@code after}. */
    private List<ConsumerRecord<byte[], byte[]>> read(
            String topic, Predicate<List<ConsumerRecord<byte[], byte[]>>> enough, Duration after) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(topic)) {
            long end = System.nanoTime() + PATIENCE.toNanos();
            while (!enough.test(records)) {
                if (System.nanoTime() > end) {
                    throw new AssertionError(topic + ": only " + records.size() + " records within " + PATIENCE);
                }
                consumer.poll(Duration.ofMillis(100)).forEach(records::add);
            }
            consumer.poll(after).forEach(records::add);
        }
        return records;
    }

    private KafkaConsumer<byte[], byte[]> consumer(String topic) {
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
                Map.of(
                        "bootstrap.servers", bootstrapServers(),
                        "isolation.level", "read_committed",
                        "auto.offset.reset", "earliest"),
                new ByteArrayDeserializer(),
                new ByteArrayDeserializer());
        List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition()))
                .toList();
        consumer.assign(partitions);
        return consumer;
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    static TopicNames topics(Map<String, String> settings) {
        return new TopicNames(settings.get(DragomanConfig.TOPIC_PREFIX));
    }

    @Override
    public void close() {
        producer.close();
        broker.close();
    }
}
