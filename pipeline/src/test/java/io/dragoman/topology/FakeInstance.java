package io.dragoman.topology;

import io.dragoman.batch.BatchLimits;
import io.dragoman.config.LanguagePair;
import io.dragoman.config.TopicNames;
import io.dragoman.infer.DecodingOptions;
import io.dragoman.infer.FakeTranslationModel;
import io.dragoman.infer.TranslationModel;
import io.dragoman.infer.TranslationService;
import io.dragoman.ingest.AvroSourceDecoder;
import io.dragoman.ingest.SourceTextReader;
import io.dragoman.metrics.Meters;
import io.dragoman.publish.OutputRecords;
import io.dragoman.publish.RecordEncoder;
import io.dragoman.tokenize.LengthPolicy;
import io.dragoman.tokenize.Segmenter;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TinyTokenizer;
import io.dragoman.tokenize.TokenizerPair;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.streams.Topology;

/** Everything of an instance but Kafka and ONNX Runtime: the tiny tokenizer, models in memory, look-ahead, topology. */
final class FakeInstance implements AutoCloseable {
    static final TopicNames TOPICS = new TopicNames("dragoman");
    static final int MAX_SOURCE_TOKENS = 20;
    static final int MAX_TEXT_TOKENS = 60;
    /** Longer than any test: a batch leaves when it is full. */
    static final Duration LONG = Duration.ofMinutes(5);

    private static final Map<String, String> WORDS = Map.of("le", "the", "chat", "cat", "noir", "black");

    private final SubwordTokenizer tokenizer;
    private final List<TranslationService> services = new ArrayList<>();
    private final Topology topology;
    private final LookAhead lookAhead;

    private FakeInstance(Settings settings, SubwordTokenizer tokenizer) {
        this.tokenizer = tokenizer;
        Map<LanguagePair, Route> routes = new HashMap<>();
        for (TranslationModel model : settings.models) {
            TranslationService service = new TranslationService(
                    model,
                    new DecodingOptions(1, 30, 0),
                    new BatchLimits(settings.rows, 10_000, settings.linger, 512, 128, Duration.ofMinutes(1)),
                    1,
                    settings.failureLimit,
                    settings.meters);
            services.add(service);
            LanguagePair pair = new LanguagePair(
                    model.manifest().languages().source(),
                    model.manifest().languages().target());
            Segmenter segmenter = new Segmenter(
                    tokenizer,
                    pair.source(),
                    new Segmenter.Limits(settings.policy, model.manifest().name(), MAX_SOURCE_TOKENS, MAX_TEXT_TOKENS));
            routes.put(pair, new Route(TokenizerPair.shared(tokenizer), segmenter, service));
        }
        SourceTextReader reader = new SourceTextReader(
                settings.format,
                AvroSourceDecoder.SINGLE_OBJECT,
                new LanguagePair("fr", "en"),
                routes.keySet(),
                settings.characters);
        lookAhead = new LookAhead(TOPICS.sentences(), new Intake(reader, routes), settings.timeout, settings.meters);
        OutputRecords output = new OutputRecords(new OutputRecords.Settings(
                RecordEncoder.singleObject(),
                TOPICS.translations(),
                TOPICS.alignments(),
                TOPICS.rejections(),
                "float32",
                900_000,
                500,
                1));
        topology = TranslationTopology.build(TOPICS, lookAhead, output, settings.timeout, true, settings.meters);
    }

    /** What may differ between tests; the defaults send each sentence alone and at once. */
    static final class Settings {
        private final List<TranslationModel> models;
        private Meters meters = Meters.none();
        private int rows = 64;
        private Duration linger = Duration.ZERO;
        private int failureLimit = 100;
        private LengthPolicy policy = LengthPolicy.REJECT;
        private int characters = 100;
        private Duration timeout = Duration.ofSeconds(30);
        private SourceTextReader.Format format = SourceTextReader.Format.TEXT;
        private SubwordTokenizer tokenizer = TinyTokenizer.open();

        private Settings(List<TranslationModel> models) {
            this.models = models;
        }

        Settings measuredBy(Meters to) {
            this.meters = to;
            return this;
        }

        /** Batches leave when they have {@code rows} sentences, and only then. */
        Settings fullBatchesOf(int rows) {
            this.rows = rows;
            this.linger = LONG;
            return this;
        }

        /** Each sentence is a batch. */
        Settings singly() {
            this.rows = 1;
            return this;
        }

        Settings failureLimit(int sentences) {
            this.failureLimit = sentences;
            return this;
        }

        Settings timeout(Duration timeout) {
            this.timeout = timeout;
            return this;
        }

        /** The same for texts of up to {@code characters}. */
        Settings longTexts(LengthPolicy policy, int characters) {
            this.policy = policy;
            this.characters = characters;
            return this;
        }

        Settings avro() {
            this.format = SourceTextReader.Format.AVRO;
            return this;
        }

        Settings tokenizer(SubwordTokenizer other) {
            this.tokenizer.close();
            this.tokenizer = other;
            return this;
        }

        FakeInstance start() {
            return new FakeInstance(this, tokenizer);
        }
    }

    static Settings of(TranslationModel... models) {
        return new Settings(List.of(models));
    }

    /** Translates three words of French, and leaves others as they are. */
    static FakeTranslationModel dictionary() {
        return FakeTranslationModel.translating(text -> {
            String translated = Arrays.stream(text.strip().split("\\s+"))
                    .map(word -> WORDS.getOrDefault(word, word))
                    .collect(Collectors.joining(" "));
            try (SubwordTokenizer tokenizer = TinyTokenizer.open()) {
                return tokenizer.tokenize(translated).ids();
            }
        });
    }

    Topology topology() {
        return topology;
    }

    LookAhead lookAhead() {
        return lookAhead;
    }

    TranslationService service() {
        return services.get(0);
    }

    /** A record as the consumer gives it. */
    static ConsumerRecord<byte[], byte[]> polled(String topic, int partition, long offset, byte[] value) {
        return polled(topic, partition, offset, value, new RecordHeaders());
    }

    static ConsumerRecord<byte[], byte[]> polled(
            String topic, int partition, long offset, byte[] value, Headers headers) {
        return new ConsumerRecord<>(
                topic,
                partition,
                offset,
                0,
                TimestampType.CREATE_TIME,
                0,
                value == null ? 0 : value.length,
                null,
                value,
                headers,
                Optional.empty());
    }

    /** One poll. */
    static ConsumerRecords<byte[], byte[]> poll(List<ConsumerRecord<byte[], byte[]>> records) {
        Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> byPartition = records.stream()
                .collect(Collectors.groupingBy(
                        record -> new TopicPartition(record.topic(), record.partition()),
                        LinkedHashMap::new,
                        Collectors.toList()));
        return new ConsumerRecords<>(byPartition, Map.of());
    }

    @Override
    public void close() {
        services.forEach(TranslationService::close);
        tokenizer.close();
    }
}
