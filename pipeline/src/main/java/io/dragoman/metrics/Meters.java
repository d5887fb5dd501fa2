package io.dragoman.metrics;

import io.dragoman.metrics.Metric.Kind;
import io.dragoman.metrics.Metric.Tag;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.composite.CompositeMeterRegistry;
import java.time.Duration;
import java.util.List;
import java.util.function.Supplier;

/**
 * The meters of {@link Metric} in a registry: what is not a row there cannot be measured. Asked again it gives the same meter;
 * whoever uses one often keeps it. The registry stays the caller's.
 * Threading: safe for many threads.
 */
public final class Meters {
    private static final Duration[] BUCKETS = {
        Duration.ofMillis(5),
        Duration.ofMillis(10),
        Duration.ofMillis(25),
        Duration.ofMillis(50),
        Duration.ofMillis(100),
        Duration.ofMillis(250),
        Duration.ofMillis(500),
        Duration.ofSeconds(1),
        Duration.ofMillis(2500),
        Duration.ofSeconds(5),
        Duration.ofSeconds(10),
        Duration.ofSeconds(30),
        Duration.ofMinutes(1)
    };

    private final MeterRegistry registry;

    public Meters(MeterRegistry registry) {
        this.registry = registry;
    }

    /** Measures nothing. */
    public static Meters none() {
        return new Meters(new CompositeMeterRegistry());
    }

    /** @param values of the metric's tags, in their order */
    public Counter counter(Metric metric, String... values) {
        check(metric, Kind.COUNTER);
        return Counter.builder(metric.meter())
                .description(metric.description())
                .tags(tags(metric, values))
                .register(registry);
    }

    public DistributionSummary summary(Metric metric, String... values) {
        check(metric, Kind.SUMMARY);
        return DistributionSummary.builder(metric.meter())
                .description(metric.description())
                .serviceLevelObjectives(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
                .tags(tags(metric, values))
                .register(registry);
    }

    public Timer timer(Metric metric, String... values) {
        check(metric, Kind.TIMER);
        return Timer.builder(metric.meter())
                .description(metric.description())
                .serviceLevelObjectives(BUCKETS)
                .tags(tags(metric, values))
                .register(registry);
    }

    /** Asks {@code value} whenever somebody looks; a second one for the same tags is not taken. */
    public void watch(Metric metric, Supplier<Number> value, String... values) {
        check(metric, Kind.GAUGE);
        Gauge.builder(metric.meter(), value)
                .description(metric.description())
                .tags(tags(metric, values))
                .register(registry);
    }

    private static void check(Metric metric, Kind kind) {
        if (metric.kind() != kind) {
            throw new IllegalArgumentException(metric + " should be a " + kind + ": is a " + metric.kind());
        }
    }

    private static Tags tags(Metric metric, String... values) {
        List<Tag> tags = metric.tags();
        if (tags.size() != values.length) {
            throw new IllegalArgumentException(metric + " should have " + tags.size() + " tags: has " + values.length);
        }
        Tags all = Tags.empty();
        for (int i = 0; i < values.length; i++) {
            all = all.and(tags.get(i).label(), values[i]);
        }
        return all;
    }
}
