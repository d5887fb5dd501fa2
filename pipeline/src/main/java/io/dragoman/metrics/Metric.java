package io.dragoman.metrics;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Everything an instance measures of itself, a row each; {@link #markdownTable} is the table of the README. Names are
 * Micrometer's; Prometheus shows dots as underscores and adds the unit ({@code dragoman_stage_seconds}) and, for counters,
 * {@code _total}. Kafka Streams' own metrics ({@code kafka_*}) and the JVM's ({@code jvm_*}, {@code process_*}) stand beside
 * them.
 */
public enum Metric {
    QUEUE_SENTENCES(
            "dragoman.queue.sentences", Kind.GAUGE, "", "Sentences that wait for a batch, by model.", Tag.MODEL),
    IN_FLIGHT_SENTENCES(
            "dragoman.in.flight.sentences", Kind.GAUGE, "", "Sentences in the runs of the model now.", Tag.MODEL),
    READ_AHEAD_RECORDS(
            "dragoman.read.ahead.records",
            Kind.GAUGE,
            "",
            "Records that were read and not yet published: bounds memory."),
    BATCHES("dragoman.batches", Kind.COUNTER, "", "Runs of the model that gave results.", Tag.MODEL),
    BATCH_ROWS(
            "dragoman.batch.rows",
            Kind.SUMMARY,
            "",
            "Sentences in a batch; against batch.max.rows it is the fill.",
            Tag.MODEL),
    SOURCE_TOKENS("dragoman.source.tokens", Kind.COUNTER, "", "Subword tokens that were translated.", Tag.MODEL),
    PADDING_TOKENS(
            "dragoman.padding.tokens",
            Kind.COUNTER,
            "",
            "Padding in the batches; against source tokens it is the waste.",
            Tag.MODEL),
    TARGET_TOKENS("dragoman.target.tokens", Kind.COUNTER, "", "Subword tokens of the translations.", Tag.MODEL),
    STAGE(
            "dragoman.stage",
            Kind.TIMER,
            "seconds",
            "What a sentence waits for: queue, from read to its run; inference, the run; turn, translated but behind others of"
                    + " its partition.",
            Tag.STAGE),
    END_TO_END(
            "dragoman.end.to.end",
            Kind.TIMER,
            "seconds",
            "From the record's timestamp to the records made from it, without the commit that makes them visible."),
    ADMITTED(
            "dragoman.admitted",
            Kind.TIMER,
            "seconds",
            "From when a sentence was read to the records made from it: bounded, however many wait in the topic."),
    PUBLISHED("dragoman.translations", Kind.COUNTER, "", "Translations published."),
    REJECTED("dragoman.rejections", Kind.COUNTER, "", "Texts rejected, by reason and stage.", Tag.REASON, Tag.STAGE),
    FAILED_RUNS(
            "dragoman.failed.runs",
            Kind.COUNTER,
            "",
            "Runs of the model that threw, by whether they were cut off for taking too long; the sentences run again.",
            Tag.MODEL,
            Tag.CUT_OFF),
    FORGOTTEN_RECORDS(
            "dragoman.forgotten.records",
            Kind.COUNTER,
            "",
            "Records read and then left to another instance with their partition: work that is done again."),
    REPLACED_THREADS("dragoman.replaced.threads", Kind.COUNTER, "", "Stream threads that died and were replaced."),
    HEALTHY(
            "dragoman.healthy",
            Kind.GAUGE,
            "",
            "1 while sentences are translated or will be, 0 once the instance stops.");

    /** What a meter does. */
    public enum Kind {
        COUNTER,
        GAUGE,
        SUMMARY,
        TIMER
    }

    /** By what a meter is split. */
    public enum Tag {
        MODEL,
        STAGE,
        REASON,
        CUT_OFF;

        String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', '.');
        }
    }

    private final String meter;
    private final Kind kind;
    private final String unit;
    private final String description;

    @SuppressWarnings("ImmutableEnumChecker") // made by List.of
    private final List<Tag> tags;

    Metric(String meter, Kind kind, String unit, String description, Tag... tags) {
        this.meter = meter;
        this.kind = kind;
        this.unit = unit;
        this.description = description;
        this.tags = List.of(tags);
    }

    public String meter() {
        return meter;
    }

    public Kind kind() {
        return kind;
    }

    public String description() {
        return description;
    }

    public List<Tag> tags() {
        return tags;
    }

    /** As Prometheus shows it. */
    public String prometheusName() {
        String name = meter.replace('.', '_');
        return switch (kind) {
            case COUNTER -> name + "_total";
            case TIMER -> name + "_" + unit;
            case GAUGE, SUMMARY -> name;
        };
    }

    /** A row for each metric. */
    public static String markdownTable() {
        StringBuilder table = new StringBuilder("| metric | kind | by | what it says |\n| --- | --- | --- | --- |\n");
        for (Metric metric : values()) {
            List<String> labels = new ArrayList<>();
            metric.tags.forEach(tag -> labels.add("`" + tag.label().replace('.', '_') + "`"));
            table.append(String.format(
                    Locale.ROOT,
                    "| `%s` | %s | %s | %s |\n",
                    metric.prometheusName(),
                    metric.kind.name().toLowerCase(Locale.ROOT),
                    String.join(", ", labels),
                    metric.description));
        }
        return table.toString();
    }
}
