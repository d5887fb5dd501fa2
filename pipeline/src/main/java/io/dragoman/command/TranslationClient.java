package io.dragoman.command;

import io.dragoman.config.TopicNames;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.Translation;
import io.dragoman.schema.TrustedRecords;
import io.dragoman.wire.ConfluentFormat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.specific.SpecificRecordBase;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.jspecify.annotations.Nullable;

/**
 * Sends lines to the sentences topic and reads what becomes of them, as any user's producer and {@code read_committed}
 * consumer would. A line is known by its key, unique to this client.
 *
 * <p>Threading: {@link #send} and {@link #poll} may be called by two threads, each by one.
 */
final class TranslationClient implements AutoCloseable {
    private final TopicNames topics;
    private final String session = UUID.randomUUID().toString();
    private final @Nullable String source;
    private final @Nullable String target;
    private final @Nullable ConfluentFormat format;
    private final KafkaProducer<byte[], byte[]> producer;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final AtomicReference<@Nullable Exception> sendFailure = new AtomicReference<>();
    private final Map<Long, Translation> translations = new HashMap<>();
    private final Map<Long, Optional<Alignment>> alignments = new HashMap<>();
    private final boolean readsAlignments;

    /**
     * Connects; what was published before is not read.
     *
     * @param clientSettings for producer and consumer, e.g. security; {@code schema.registry.url} too when there is one
     * @param source language, or null for the pipeline's default; likewise {@code target}
     * @param readsAlignments whether replies should have them: they are waited for in any case, and are most of the bytes
     */
    TranslationClient(
            String bootstrapServers,
            Map<String, String> clientSettings,
            TopicNames topics,
            @Nullable String source,
            @Nullable String target,
            boolean readsAlignments)
            throws CommandException {
        TrustedRecords.register();
        this.topics = topics;
        this.source = source;
        this.target = target;
        this.readsAlignments = readsAlignments;
        Map<String, String> given = new HashMap<>(clientSettings);
        String registry = given.remove("schema.registry.url");
        String userInfo = given.remove("basic.auth.user.info");
        this.format = registry == null ? null : new ConfluentFormat(registry, userInfo == null ? "" : userInfo, false);
        Map<String, Object> settings = new HashMap<>(given);
        settings.put("bootstrap.servers", bootstrapServers);
        settings.put("enable.metrics.push", "false");
        Map<String, Object> reading = new HashMap<>(settings);
        reading.put("isolation.level", "read_committed");
        reading.put("auto.offset.reset", "earliest");
        reading.put("default.api.timeout.ms", "20000");
        this.consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        Map<String, Object> writing = new HashMap<>(settings);
        writing.put("acks", "all");
        writing.put("linger.ms", "5");
        writing.put("max.block.ms", "20000");
        this.producer = new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer());
        try {
            readFromTheEnd(bootstrapServers);
        } catch (CommandException | RuntimeException e) {
            close();
            throw e;
        }
    }

    private void readFromTheEnd(String bootstrapServers) throws CommandException {
        List<TopicPartition> partitions = new ArrayList<>();
        try {
            for (String topic : List.of(topics.translations(), topics.alignments(), topics.rejections())) {
                List<PartitionInfo> found = consumer.partitionsFor(topic);
                if (found.isEmpty()) {
                    throw new CommandException("the Kafka cluster at " + bootstrapServers + " has no topic " + topic
                            + ": check --topic-prefix, or make the topics with `dragoman topics create`");
                }
                found.forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
            }
            consumer.assign(partitions);
            consumer.seekToEnd(partitions);
            partitions.forEach(consumer::position);
        } catch (KafkaException e) {
            throw new CommandException(
                    "the Kafka cluster at " + bootstrapServers + " does not answer as it should: " + e.getMessage()
                            + "; check the address, and make the topics with `dragoman topics create`",
                    e);
        }
    }

    /** Sends line {@code number}; blocks when the cluster is slow. */
    void send(long number, byte[] line) throws CommandException {
        byte[] key = (session + ":" + number).getBytes(StandardCharsets.UTF_8);
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topics.sentences(), key, line);
        if (source != null) {
            record.headers().add(new RecordHeader("source-language", source.getBytes(StandardCharsets.UTF_8)));
        }
        if (target != null) {
            record.headers().add(new RecordHeader("target-language", target.getBytes(StandardCharsets.UTF_8)));
        }
        try {
            var unused = producer.send(record, (metadata, failure) -> {
                if (failure != null) {
                    sendFailure.compareAndSet(null, failure);
                }
            });
        } catch (KafkaException e) {
            throw new CommandException("sending to " + topics.sentences() + " failed: " + e.getMessage(), e);
        }
    }

    /** Returns once everything that was sent stands in the topic, or {@link #poll} says why not. */
    void flush() {
        producer.flush();
    }

    /** What has come back since the last call, by line; waits for at most {@code patience}. */
    Map<Long, Reply> poll(Duration patience) throws CommandException {
        Exception failure = sendFailure.get();
        if (failure != null) {
            throw new CommandException(
                    "sending to " + topics.sentences() + " failed: " + failure.getMessage(), failure);
        }
        Map<Long, Reply> replies = new HashMap<>();
        try {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(patience)) {
                long number = numberOf(record.key());
                if (number >= 0) {
                    read(number, record, replies);
                }
            }
        } catch (IOException | KafkaException e) {
            throw new CommandException("reading the results failed: " + e.getMessage(), e);
        }
        return replies;
    }

    private void read(long number, ConsumerRecord<byte[], byte[]> record, Map<Long, Reply> replies) throws IOException {
        byte[] value = record.value();
        if (record.topic().equals(topics.rejections())) {
            replies.put(number, new Reply(null, null, decode(value, Rejection.class, Rejection.getDecoder())));
            return;
        }
        if (record.topic().equals(topics.translations())) {
            translations.put(number, decode(value, Translation.class, Translation.getDecoder()));
        } else {
            alignments.put(
                    number,
                    readsAlignments
                            ? Optional.of(decode(value, Alignment.class, Alignment.getDecoder()))
                            : Optional.empty());
        }
        Translation translation = translations.get(number);
        if (translation != null && Reply.isWhole(translation, alignments.containsKey(number))) {
            translations.remove(number);
            Optional<Alignment> alignment = alignments.remove(number);
            replies.put(number, new Reply(translation, alignment == null ? null : alignment.orElse(null), null));
        }
    }

    private <T extends SpecificRecordBase> T decode(byte[] value, Class<T> type, BinaryMessageDecoder<T> singleObject)
            throws IOException {
        return format == null ? singleObject.decode(ByteBuffer.wrap(value)) : format.decode(value, type);
    }

    private long numberOf(byte @Nullable [] key) {
        String text = key == null ? "" : new String(key, StandardCharsets.UTF_8);
        if (!text.startsWith(session + ":")) {
            return -1;
        }
        return Long.parseLong(text.substring(session.length() + 1));
    }

    @Override
    public void close() {
        producer.close(Duration.ofSeconds(5));
        consumer.close();
    }
}
