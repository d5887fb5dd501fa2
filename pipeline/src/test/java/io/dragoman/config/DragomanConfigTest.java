package io.dragoman.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.config.types.Password;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DragomanConfigTest {
    private static final Map<String, String> SERVERS = Map.of("bootstrap.servers", "localhost:9092");

    @Test
    void shouldHaveTheseSettingsWithTheseDefaults() {
        Map<String, String> expected = new LinkedHashMap<>();
        expected.put("bootstrap.servers", "required");
        expected.put("bundles", "fr-en");
        expected.put("application.id", "dragoman");
        expected.put(
                "state.dir",
                Path.of(System.getProperty("user.home"), ".local", "state", "dragoman")
                        .toString());
        expected.put("input.format", "text");
        expected.put("schema.registry.url", "");
        expected.put("auto.register.schemas", "true");
        expected.put("basic.auth.user.info", "");
        expected.put("source.language", "");
        expected.put("target.language", "");
        expected.put("topic.prefix", "dragoman");
        expected.put("topic.partitions", "6");
        expected.put("topic.replication", "-1");
        expected.put("batch.max.rows", "0");
        expected.put("batch.max.tokens", "0");
        expected.put("batch.linger.ms", "5");
        expected.put("batch.window.rows", "4096");
        expected.put("batch.run.cost.tokens", "0");
        expected.put("priority.allowance.ms", "2000");
        expected.put("model.device", "cpu");
        expected.put("model.cuda.memory.mb", "0");
        expected.put("model.workers", "0");
        expected.put("model.threads", "1");
        expected.put("model.beam.size", "0");
        expected.put("model.n.best", "1");
        expected.put("model.run.timeout.ms", "15000");
        expected.put("model.timeout.ms", "45000");
        expected.put("model.failure.limit", "8");
        expected.put("text.max.characters", "10000");
        expected.put("text.length.policy", "split");
        expected.put("text.max.tokens", "8192");
        expected.put("alignment.encoding", "float32");
        expected.put("alignment.max.bytes", "900000");
        expected.put("rejection.max.value.bytes", "500000");
        expected.put("processing.guarantee", "exactly_once_v2");
        expected.put("commit.interval.ms", "250");
        expected.put("commit.when.drained", "true");
        expected.put("metrics.port", "0");
        expected.put("metrics.host", "127.0.0.1");
        expected.put("stream.threads", "1");
        expected.put("read.ahead.rows", "2000");
        expected.put("drain.timeout.ms", "20000");
        Map<String, String> found = new LinkedHashMap<>();
        DragomanConfig.DEFINITION
                .configKeys()
                .forEach((name, key) -> found.put(name, key.hasDefault() ? defaultOf(key) : "required"));
        assertEquals(List.copyOf(expected.entrySet()), List.copyOf(found.entrySet()));
    }

    /** A secret's text is hidden, so its value is taken. */
    private static String defaultOf(ConfigDef.ConfigKey key) {
        return key.defaultValue instanceof Password secret
                ? secret.value()
                : ConfigDef.convertToString(key.defaultValue, key.type);
    }

    @Test
    void shouldSayWhatEachSettingDoes() {
        DragomanConfig.DEFINITION
                .configKeys()
                .values()
                .forEach(key -> assertTrue(key.documentation.endsWith("."), () -> key.name + " has no sentence"));
    }

    @Test
    void shouldReadValuesInTheirTypes() {
        DragomanConfig config = DragomanConfig.of(Map.of(
                "bootstrap.servers", "one:9092, two:9093",
                "batch.max.rows", "16",
                "batch.linger.ms", "20",
                "topic.prefix", "mt",
                "topic.replication", "3",
                "bundles", "fr-en,/models/de-en"));
        assertEquals(List.of("one:9092", "two:9093"), config.list(DragomanConfig.BOOTSTRAP_SERVERS));
        assertEquals(16, config.integer(DragomanConfig.BATCH_MAX_ROWS));
        assertEquals(Duration.ofMillis(20), config.millis(DragomanConfig.BATCH_LINGER_MS));
        assertEquals("mt", config.string(DragomanConfig.TOPIC_PREFIX));
        assertEquals(3, config.topicReplication());
        assertEquals(List.of("fr-en", "/models/de-en"), config.list(DragomanConfig.BUNDLES));
    }

    @Test
    void shouldReadFlagsAndSecrets() {
        assertTrue(DragomanConfig.of(SERVERS).flag(DragomanConfig.AUTO_REGISTER_SCHEMAS));
        assertEquals(
                false,
                DragomanConfig.of(with("auto.register.schemas", "false")).flag(DragomanConfig.AUTO_REGISTER_SCHEMAS));
        assertEquals(
                "ann:secret",
                DragomanConfig.of(with("basic.auth.user.info", "ann:secret"))
                        .secret(DragomanConfig.BASIC_AUTH_USER_INFO));
    }

    @Test
    void shouldNotRepeatASecretInAFault() {
        ConfigException e = assertThrows(
                ConfigException.class,
                () -> DragomanConfig.of(Map.of("basic.auth.user.info", "ann:secret", "batch.max.rows", "-1")));
        assertEquals(-1, e.getMessage().indexOf("secret"));
    }

    @Test
    void shouldNameTheTopicsBelowThePrefix() {
        TopicNames topics = DragomanConfig.of(with("topic.prefix", "mt")).topics();
        assertEquals(List.of("mt.sentences", "mt.translations", "mt.alignments", "mt.rejections"), topics.all());
        assertEquals("mt.sentences", topics.sentences());
        assertEquals("mt.translations", topics.translations());
        assertEquals("mt.alignments", topics.alignments());
        assertEquals("mt.rejections", topics.rejections());
    }

    @Test
    void shouldNameEveryFaultAtOnce() {
        ConfigException e = assertThrows(
                ConfigException.class,
                () -> DragomanConfig.of(Map.of(
                        "batch.max.row", "3",
                        "acks", "all",
                        "batch.max.rows", "many",
                        "batch.max.tokens", "-1",
                        "input.format", "xml")));
        assertEquals(
                List.of(
                        "acks: unknown setting (a Kafka setting is written kafka.acks; `dragoman config` lists the others)",
                        "batch.max.row: unknown setting (a Kafka setting is written kafka.batch.max.row;"
                                + " `dragoman config` lists the others)",
                        "Invalid value -1 for configuration batch.max.tokens: Value must be at least 0",
                        "Invalid value many for configuration batch.max.rows: Not a number of type INT",
                        "Invalid value xml for configuration input.format: String must be one of: text, avro",
                        "Missing required configuration \"bootstrap.servers\" which has no default value."),
                List.of(e.getMessage().split("\n")));
    }

    @ParameterizedTest
    @CsvSource({
        "bundles, ''",
        "bundles, 'fr-en,,de-en'",
        "bundles, 'fr-en,fr-en'",
        "bootstrap.servers, ''",
        "model.device, gpu",
        "model.device, cuda:",
        "model.device, cuda:one",
        "model.device, cpu:1",
        "model.workers, -1",
        "model.workers, 257",
        "model.threads, 0",
        "model.beam.size, 65",
        "model.n.best, 0",
        "model.timeout.ms, 0",
        "model.failure.limit, 0",
        "batch.linger.ms, -1",
        "batch.window.rows, 0",
        "text.max.characters, 0",
        "alignment.encoding, float64",
        "alignment.max.bytes, 999",
        "rejection.max.value.bytes, -1",
        "processing.guarantee, exactly_once",
        "commit.interval.ms, 0",
        "stream.threads, 65",
        "read.ahead.rows, 0",
        "topic.partitions, 0",
        "auto.register.schemas, maybe"
    })
    void shouldRefuseWhatCannotWork(String name, String value) {
        ConfigException e = assertThrows(ConfigException.class, () -> DragomanConfig.of(with(name, value)));
        assertTrue(e.getMessage().contains(name), e.getMessage());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    }

    @Test
    void shouldHandKafkaSettingsOnWithoutThePrefix() {
        DragomanConfig config = DragomanConfig.of(Map.of(
                "bootstrap.servers", "localhost:9092",
                "kafka.security.protocol", "SSL",
                "kafka.main.consumer.group.instance.id", "a-1"));
        assertEquals(Map.of("security.protocol", "SSL", "main.consumer.group.instance.id", "a-1"), config.kafka());
    }

    @Test
    void shouldRunOnTheCpuUnlessToldOtherwise() {
        assertNull(DragomanConfig.of(SERVERS).gpu());
        assertNull(DragomanConfig.of(with("model.device", "cpu")).gpu());
    }

    @ParameterizedTest
    @CsvSource({"cuda, 0", "cuda:0, 0", "cuda:3, 3", "cuda:12, 12"})
    void shouldNameTheCudaDevice(String device, int expected) {
        assertEquals(expected, DragomanConfig.of(with("model.device", device)).gpu());
    }

    @Test
    void shouldPrintARowForEachSetting() {
        List<String> rows = DragomanConfig.markdownTable().lines().toList();
        assertEquals("| setting | default | what it does |", rows.get(0));
        assertEquals("| --- | --- | --- |", rows.get(1));
        Set<String> named =
                rows.stream().skip(2).map(row -> row.split("`", 3)[1]).collect(Collectors.toSet());
        Set<String> expected = new java.util.HashSet<>(DragomanConfig.DEFINITION.names());
        expected.add("kafka.*");
        assertEquals(expected, named);
        assertEquals(2 + expected.size(), rows.size());
        rows.forEach(row -> assertEquals(4, row.chars().filter(c -> c == '|').count(), row));
        assertTrue(rows.contains("| `batch.linger.ms` | `5` | How long a sentence waits for company while its batch is"
                + " not full. Adds to the latency of a quiet stream; fills batches of a busy one. |"));
        assertTrue(rows.stream().anyMatch(row -> row.startsWith("| `state.dir` | `~/.local/state/dragoman` | ")));
        assertTrue(rows.stream().anyMatch(row -> row.startsWith("| `source.language` | empty | ")));
    }

    @Test
    void shouldStandInTheReadmeAsPrinted() throws IOException {
        String readme = Files.readString(Path.of("..", "README.md"));
        String opening = "<!-- settings -->";
        int start = readme.indexOf(opening);
        int end = readme.indexOf("<!-- /settings -->");
        assertTrue(start >= 0 && end > start, "README.md should have the settings between their two marks");
        assertEquals(
                DragomanConfig.markdownTable().strip(),
                readme.substring(start + opening.length(), end).strip(),
                "print it again with `bin/dragoman config`");
    }

    @ParameterizedTest
    @ValueSource(strings = {"fr", "FR", "pt-br", "zh-Hant-tw"})
    void shouldKnowTheFormOfALanguageCode(String code) {
        assertTrue(new LanguagePair(code, "en").isWellFormed());
        assertTrue(new LanguagePair("en", code).isWellFormed());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "f", "fr_FR", "fr-", "-fr", "fr en", "frfrfrfrf", "f\u0000r", "фр"})
    void shouldKnowWhatIsNoLanguageCode(String code) {
        assertEquals(false, new LanguagePair(code, "en").isWellFormed());
        assertEquals(false, new LanguagePair("en", code).isWellFormed());
    }

    @Test
    void shouldHoldLanguagesInLowerCase() {
        assertEquals(new LanguagePair("fr", "pt-br"), new LanguagePair("FR", "pt-BR"));
        assertEquals("fr-en", new LanguagePair("Fr", "EN").toString());
    }

    private static Map<String, String> with(String name, String value) {
        Map<String, String> settings = new HashMap<>(SERVERS);
        settings.put(name, value);
        return settings;
    }
}
