package io.dragoman.config;

import static org.apache.kafka.common.config.ConfigDef.Importance.HIGH;
import static org.apache.kafka.common.config.ConfigDef.Importance.LOW;
import static org.apache.kafka.common.config.ConfigDef.Importance.MEDIUM;
import static org.apache.kafka.common.config.ConfigDef.Range.atLeast;
import static org.apache.kafka.common.config.ConfigDef.Range.between;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Type;
import org.apache.kafka.common.config.ConfigDef.ValidString;
import org.apache.kafka.common.config.ConfigException;
import org.jspecify.annotations.Nullable;

/**
 * Every setting. Whatever begins with {@code kafka.} goes to Kafka Streams and its clients without the prefix; any other
 * name that is not listed here is refused.
 */
public final class DragomanConfig {
    public static final String KAFKA_PREFIX = "kafka.";

    public static final String BOOTSTRAP_SERVERS = "bootstrap.servers";
    public static final String APPLICATION_ID = "application.id";
    public static final String STATE_DIR = "state.dir";
    public static final String TOPIC_PREFIX = "topic.prefix";
    public static final String TOPIC_PARTITIONS = "topic.partitions";
    public static final String TOPIC_REPLICATION = "topic.replication";
    public static final String INPUT_FORMAT = "input.format";
    public static final String SCHEMA_REGISTRY_URL = "schema.registry.url";
    public static final String AUTO_REGISTER_SCHEMAS = "auto.register.schemas";
    public static final String BASIC_AUTH_USER_INFO = "basic.auth.user.info";
    public static final String BUNDLES = "bundles";
    public static final String SOURCE_LANGUAGE = "source.language";
    public static final String TARGET_LANGUAGE = "target.language";
    public static final String BATCH_MAX_ROWS = "batch.max.rows";
    public static final String BATCH_MAX_TOKENS = "batch.max.tokens";
    public static final String BATCH_LINGER_MS = "batch.linger.ms";
    public static final String BATCH_WINDOW_ROWS = "batch.window.rows";
    public static final String BATCH_RUN_COST_TOKENS = "batch.run.cost.tokens";
    public static final String PRIORITY_ALLOWANCE_MS = "priority.allowance.ms";
    public static final String MODEL_DEVICE = "model.device";
    public static final String MODEL_WORKERS = "model.workers";
    public static final String MODEL_THREADS = "model.threads";
    public static final String MODEL_BEAM_SIZE = "model.beam.size";
    public static final String MODEL_N_BEST = "model.n.best";
    public static final String MODEL_CUDA_MEMORY_MB = "model.cuda.memory.mb";
    public static final String MODEL_RUN_TIMEOUT_MS = "model.run.timeout.ms";
    public static final String MODEL_TIMEOUT_MS = "model.timeout.ms";
    public static final String MODEL_FAILURE_LIMIT = "model.failure.limit";
    public static final String TEXT_MAX_CHARACTERS = "text.max.characters";
    public static final String TEXT_MAX_TOKENS = "text.max.tokens";
    public static final String TEXT_LENGTH_POLICY = "text.length.policy";
    public static final String ALIGNMENT_ENCODING = "alignment.encoding";
    public static final String ALIGNMENT_MAX_BYTES = "alignment.max.bytes";
    public static final String REJECTION_MAX_VALUE_BYTES = "rejection.max.value.bytes";
    public static final String PROCESSING_GUARANTEE = "processing.guarantee";
    public static final String COMMIT_INTERVAL_MS = "commit.interval.ms";
    public static final String COMMIT_WHEN_DRAINED = "commit.when.drained";
    public static final String DRAIN_TIMEOUT_MS = "drain.timeout.ms";
    public static final String METRICS_PORT = "metrics.port";
    public static final String METRICS_HOST = "metrics.host";
    public static final String STREAM_THREADS = "stream.threads";
    public static final String READ_AHEAD_ROWS = "read.ahead.rows";

    private static final ConfigDef.Validator NAMES = (name, value) -> {
        if (value instanceof List<?> list
                && (list.isEmpty() || list.contains("") || Set.copyOf(list).size() < list.size())) {
            throw new ConfigException(name, value, "should be at least one, split by single commas, each once");
        }
    };

    public static final ConfigDef DEFINITION = new ConfigDef()
            .define(
                    BOOTSTRAP_SERVERS,
                    Type.LIST,
                    ConfigDef.NO_DEFAULT_VALUE,
                    NAMES,
                    HIGH,
                    "The Kafka cluster, host:port separated by commas.")
            .define(
                    BUNDLES,
                    Type.LIST,
                    "fr-en",
                    NAMES,
                    HIGH,
                    "Model folders, one for each language pair: a path, or the name of a bundle that comes with Dragoman."
                            + " Each takes memory of its own.")
            .define(
                    APPLICATION_ID,
                    Type.STRING,
                    "dragoman",
                    HIGH,
                    "The consumer group and the prefix of transactional ids. Instances that share the work have the same"
                            + " one; another name starts over from the first sentence.")
            .define(
                    STATE_DIR,
                    Type.STRING,
                    defaultStateDir(),
                    MEDIUM,
                    "A folder that outlives restarts: with it an instance comes back under the same transactional id and"
                            + " readers wait seconds, not for a transaction to time out. It holds no texts.")
            .define(
                    INPUT_FORMAT,
                    Type.STRING,
                    "text",
                    ValidString.in("text", "avro"),
                    HIGH,
                    "What the sentences topic holds: text is plain UTF-8, avro is SourceText.")
            .define(
                    SCHEMA_REGISTRY_URL,
                    Type.STRING,
                    "",
                    MEDIUM,
                    "A Confluent-compatible schema registry: records then start with a magic byte and a schema id."
                            + " Empty: Avro single-object encoding, no registry needed.")
            .define(
                    AUTO_REGISTER_SCHEMAS,
                    Type.BOOLEAN,
                    true,
                    LOW,
                    "Whether schemas that the registry does not know are registered; otherwise that is an error at start.")
            .define(BASIC_AUTH_USER_INFO, Type.PASSWORD, "", LOW, "user:password for the schema registry.")
            .define(
                    SOURCE_LANGUAGE,
                    Type.STRING,
                    "",
                    MEDIUM,
                    "Language of sentences that do not name one; empty takes the first bundle's.")
            .define(
                    TARGET_LANGUAGE,
                    Type.STRING,
                    "",
                    MEDIUM,
                    "Language to translate into when a sentence does not name one; empty takes the first bundle's.")
            .define(TOPIC_PREFIX, Type.STRING, "dragoman", MEDIUM, "First part of every topic's name.")
            .define(
                    TOPIC_PARTITIONS,
                    Type.INT,
                    6,
                    atLeast(1),
                    LOW,
                    "Partitions of the topics that `topics create` makes: the most instances that can share the work.")
            .define(
                    TOPIC_REPLICATION,
                    Type.SHORT,
                    (short) -1,
                    LOW,
                    "Replicas of the topics that `topics create` makes; -1 takes the cluster's default.")
            .define(
                    BATCH_MAX_ROWS,
                    Type.INT,
                    0,
                    atLeast(0),
                    HIGH,
                    "Most sentences in a batch. More is faster up to a point, on a CPU while a step's work fits into its"
                            + " caches; and a sentence waits for its whole batch. 0 goes by the beam size: 192 hypotheses"
                            + " in all, 48 sentences with a beam of four, and at most 64 sentences; 1024 hypotheses on"
                            + " cuda.")
            .define(
                    BATCH_MAX_TOKENS,
                    Type.INT,
                    0,
                    atLeast(0),
                    MEDIUM,
                    "Most padded tokens in a batch, sentences x the longest: bounds the memory of a run. 0 means 4096,"
                            + " and 16384 on cuda.")
            .define(
                    BATCH_LINGER_MS,
                    Type.INT,
                    5,
                    atLeast(0),
                    HIGH,
                    "How long a sentence waits for company while its batch is not full. Adds to the latency of a quiet"
                            + " stream; fills batches of a busy one.")
            .define(
                    BATCH_WINDOW_ROWS,
                    Type.INT,
                    4096,
                    atLeast(1),
                    LOW,
                    "How many waiting sentences a batch is picked from by length. More means less padding.")
            .define(
                    BATCH_RUN_COST_TOKENS,
                    Type.INT,
                    0,
                    atLeast(0),
                    LOW,
                    "What a run of the model costs besides its padded tokens, in tokens: a batch takes sentences of other"
                            + " lengths in only while that is cheaper than another run. 0 means 256, and"
                            + " batch.max.tokens on cuda, where a run costs much and padding little.")
            .define(
                    PRIORITY_ALLOWANCE_MS,
                    Type.INT,
                    2000,
                    atLeast(0),
                    LOW,
                    "Priority classes are high, normal and low, by the header priority or the Avro field. A sentence goes"
                            + " before those of the next lower class that came up to this long before it, so nobody waits"
                            + " for ever; the order within a partition stays. 0 makes all classes equal.")
            .define(
                    MODEL_DEVICE,
                    Type.STRING,
                    "cpu",
                    (name, value) -> {
                        if (!String.valueOf(value).matches("cpu|cuda(:\\d{1,3})?")) {
                            throw new ConfigException(name, value, "should be cpu, cuda or cuda:N");
                        }
                    },
                    MEDIUM,
                    "Where the model runs: cpu, cuda or cuda:N. cuda needs the build made with -Pgpu and fails"
                            + " at start where CUDA cannot be used.")
            .define(
                    MODEL_CUDA_MEMORY_MB,
                    Type.INT,
                    0,
                    atLeast(0),
                    LOW,
                    "Most memory of the GPU for tensors, in MB: what ONNX Runtime has taken once it keeps. A batch that"
                            + " does not fit goes in halves. 0 means no limit.")
            .define(
                    MODEL_WORKERS,
                    Type.INT,
                    0,
                    between(0, 256),
                    MEDIUM,
                    "Batches that run at the same time; 0 means one for each core (one in all on cuda). Each has a copy of the"
                            + " model in memory (on cuda they share one).")
            .define(
                    MODEL_THREADS,
                    Type.INT,
                    1,
                    between(1, 256),
                    LOW,
                    "Cores that one batch uses. Several workers with one thread each are faster than the reverse.")
            .define(
                    MODEL_BEAM_SIZE,
                    Type.INT,
                    0,
                    between(0, 64),
                    MEDIUM,
                    "Hypotheses kept while searching; 1 is greedy, 0 takes the bundle's. More is slower.")
            .define(
                    MODEL_N_BEST,
                    Type.INT,
                    1,
                    between(1, 64),
                    LOW,
                    "Translations published for each sentence, at most the beam size.")
            .define(
                    MODEL_RUN_TIMEOUT_MS,
                    Type.INT,
                    15_000,
                    atLeast(1),
                    LOW,
                    "Processor time that one run of the model may take. A longer one is cut off and its sentences go alone; one that is"
                            + " cut off alone is rejected. Below half of model.timeout.ms, so that the two runs fit in.")
            .define(
                    MODEL_TIMEOUT_MS,
                    Type.INT,
                    45_000,
                    atLeast(1),
                    MEDIUM,
                    "How long a stream thread waits for a result before the instance stops: the sentence it waits for goes"
                            + " with the next batch, so it should be more than the time of two batches, and well below"
                            + " Kafka's transaction timeout (60 s here). For a slow model lower batch.max.rows first.")
            .define(
                    MODEL_FAILURE_LIMIT,
                    Type.INT,
                    8,
                    atLeast(1),
                    LOW,
                    "Sentences that may fail in a row before the model counts as broken and the instance stops; until"
                            + " then each becomes a rejection.")
            .define(
                    TEXT_MAX_CHARACTERS,
                    Type.INT,
                    10_000,
                    atLeast(1),
                    MEDIUM,
                    "Longer texts are rejected before anything else is done with them.")
            .define(
                    TEXT_LENGTH_POLICY,
                    Type.STRING,
                    "split",
                    ValidString.in("split", "sentences", "truncate", "reject"),
                    HIGH,
                    "What becomes of a text with more subword tokens than the bundle's limit. split translates it sentence"
                            + " by sentence, what is still too long in parts of sentences, and joins text and alignment"
                            + " again; sentences does so with every text of several sentences; truncate translates the"
                            + " beginning; reject does not translate. The record says what was done.")
            .define(
                    TEXT_MAX_TOKENS,
                    Type.INT,
                    8192,
                    atLeast(2),
                    MEDIUM,
                    "Texts with more subword tokens in all their pieces are rejected: bounds the work that one record can"
                            + " make, which has to be done within model.timeout.ms.")
            .define(
                    ALIGNMENT_ENCODING,
                    Type.STRING,
                    "float32",
                    ValidString.in("float32", "float16", "uint8"),
                    MEDIUM,
                    "How weights are written: 4, 2 or 1 bytes each, with an error of 0, 0.0003 or 0.002.")
            .define(
                    ALIGNMENT_MAX_BYTES,
                    Type.INT,
                    900_000,
                    atLeast(1000),
                    LOW,
                    "Largest alignment record; a larger one leaves out the zeros between the pieces of a text, takes the"
                            + " next smaller encoding, has links and no weights at last. Keep it below the topic's"
                            + " max.message.bytes.")
            .define(
                    REJECTION_MAX_VALUE_BYTES,
                    Type.INT,
                    500_000,
                    atLeast(0),
                    LOW,
                    "Larger original values are left out of the rejection record, which then says how large they were.")
            .define(
                    PROCESSING_GUARANTEE,
                    Type.STRING,
                    "exactly_once_v2",
                    ValidString.in("exactly_once_v2", "at_least_once"),
                    MEDIUM,
                    "With at_least_once a sentence may come out twice after a failure, and results are visible sooner.")
            .define(
                    COMMIT_INTERVAL_MS,
                    Type.INT,
                    250,
                    atLeast(1),
                    MEDIUM,
                    "How often results become visible to read_committed readers while several batches wait: adds to the"
                            + " latency; shorter means more transactions.")
            .define(
                    COMMIT_WHEN_DRAINED,
                    Type.BOOLEAN,
                    true,
                    LOW,
                    "Whether a stream thread that has nothing more to publish commits at once, unless several batches wait."
                            + " Halves the latency of a quiet stream; false leaves it to commit.interval.ms, with fewer"
                            + " transactions.")
            .define(
                    METRICS_PORT,
                    Type.INT,
                    0,
                    between(0, 65_535),
                    LOW,
                    "Where metrics for Prometheus (/metrics) and the probes /started, /ready and /live are served over HTTP;"
                            + " 0 serves nothing.")
            .define(
                    METRICS_HOST,
                    Type.STRING,
                    "127.0.0.1",
                    LOW,
                    "The address they are served on; 0.0.0.0 lets other machines read them.")
            .define(
                    STREAM_THREADS,
                    Type.INT,
                    1,
                    between(1, 64),
                    LOW,
                    "Threads that read, tokenize and publish; none of them waits for a model. They share one batcher."
                            + " One takes about an eighth of a core for a thousand sentences a second; each commits for itself.")
            .define(
                    READ_AHEAD_ROWS,
                    Type.INT,
                    2000,
                    atLeast(1),
                    LOW,
                    "Sentences that a stream thread has read and that are not translated, at most: what batches are"
                            + " picked from. More means fuller batches with less padding, more memory, and about this many"
                            + " sentences translated again after a crash.")
            .define(
                    DRAIN_TIMEOUT_MS,
                    Type.INT,
                    20_000,
                    atLeast(1),
                    LOW,
                    "How long an instance that is told to end finishes the sentences it has read. After that it commits what"
                            + " is published and leaves the rest to others. At least 10 s less than what ends it by force.");

    private final AbstractConfig values;
    private final Map<String, String> kafka;

    private DragomanConfig(AbstractConfig values, Map<String, String> kafka) {
        this.values = values;
        this.kafka = kafka;
    }

    private static String defaultStateDir() {
        return Path.of(System.getProperty("user.home", "."), ".local", "state", "dragoman")
                .toString();
    }

    /**
     * Checks settings.
     *
     * @throws ConfigException with every fault found, one a line
     */
    public static DragomanConfig of(Map<String, String> settings) {
        Map<String, String> own = new HashMap<>();
        Map<String, String> kafka = new HashMap<>();
        settings.forEach((name, value) -> {
            if (name.startsWith(KAFKA_PREFIX)) {
                kafka.put(name.substring(KAFKA_PREFIX.length()), value);
            } else {
                own.put(name, value);
            }
        });
        List<String> faults = new ArrayList<>();
        for (String name : new TreeSet<>(own.keySet())) {
            if (!DEFINITION.names().contains(name)) {
                faults.add(name + ": unknown setting (a Kafka setting is written " + KAFKA_PREFIX + name
                        + "; `dragoman config` lists the others)");
            }
        }
        DEFINITION.validate(own).stream()
                .filter(value -> DEFINITION.names().contains(value.name()))
                .flatMap(value -> value.errorMessages().stream().limit(1)) // what follows the first is noise
                .sorted()
                .forEach(faults::add);
        if (!faults.isEmpty()) {
            throw new ConfigException(String.join("\n", faults));
        }
        return new DragomanConfig(new AbstractConfig(DEFINITION, own, false), Map.copyOf(kafka));
    }

    public int integer(String name) {
        return values.getInt(name);
    }

    public String string(String name) {
        return values.getString(name);
    }

    public boolean flag(String name) {
        return values.getBoolean(name);
    }

    /** A secret in clear; never log it. */
    public String secret(String name) {
        return values.getPassword(name).value();
    }

    public List<String> list(String name) {
        return values.getList(name);
    }

    public Duration millis(String name) {
        return Duration.ofMillis(values.getInt(name));
    }

    public short topicReplication() {
        return values.getShort(TOPIC_REPLICATION);
    }

    public TopicNames topics() {
        return new TopicNames(string(TOPIC_PREFIX));
    }

    /** CUDA device, or null for the CPU. */
    public @Nullable Integer gpu() {
        String device = string(MODEL_DEVICE);
        if (device.equals("cpu")) {
            return null;
        }
        return device.contains(":") ? Integer.parseInt(device.substring(device.indexOf(':') + 1)) : 0;
    }

    /** Settings for Kafka Streams and its clients, without the prefix. */
    public Map<String, String> kafka() {
        return kafka;
    }

    /** The table of the README: name, type, default, range, meaning. */
    public static String markdownTable() {
        StringBuilder table = new StringBuilder("| setting | default | what it does |\n| --- | --- | --- |\n");
        for (ConfigDef.ConfigKey key : DEFINITION.configKeys().values()) {
            String fallback = key.name.equals(STATE_DIR)
                    ? "`~/.local/state/dragoman`"
                    : key.hasDefault()
                            ? code(
                                    key.type == Type.PASSWORD
                                            ? ""
                                            : String.valueOf(ConfigDef.convertToString(key.defaultValue, key.type)))
                            : "required";
            table.append("| `").append(key.name).append("` | ").append(fallback).append(" | ");
            table.append(key.documentation).append(" |\n");
        }
        table.append(
                        "| `kafka.*` | | Any setting of Kafka Streams and its clients, without the prefix on the way there: ")
                .append("`kafka.security.protocol`, `kafka.main.consumer.group.instance.id`. |\n");
        return table.toString();
    }

    private static String code(String value) {
        return value.isEmpty() ? "empty" : "`" + value + "`";
    }
}
