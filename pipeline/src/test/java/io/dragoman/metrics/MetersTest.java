package io.dragoman.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.metrics.Metric.Tag;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class MetersTest {
    private static void use(Meters meters, Metric metric, String... values) {
        switch (metric.kind()) {
            case COUNTER -> meters.counter(metric, values).increment(2);
            case GAUGE -> meters.watch(metric, () -> 7, values);
            case SUMMARY -> meters.summary(metric, values).record(33);
            case TIMER -> meters.timer(metric, values).record(Duration.ofMillis(30));
        }
    }

    private static String[] some(Metric metric) {
        return metric.tags().stream().map(Tag::name).toArray(String[]::new);
    }

    /** The line of a page that starts so, as a number. */
    private static double value(String page, String start) {
        return page.lines()
                .filter(line -> line.startsWith(start))
                .mapToDouble(line -> Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1)))
                .findFirst()
                .orElseThrow(() -> new AssertionError("no line starts with " + start + " in\n" + page));
    }

    @ParameterizedTest
    @EnumSource
    void shouldShowEachMetricUnderTheNameInTheTable(Metric metric) {
        try (InstanceMetrics instance = new InstanceMetrics()) {
            use(instance.meters(), metric, some(metric));
            String page = instance.scrape();
            String name = metric.prometheusName();
            assertTrue(page.contains("# HELP " + name + " " + metric.description()), page);
            switch (metric.kind()) {
                case COUNTER -> assertEquals(2, value(page, name));
                case GAUGE -> assertEquals(7, value(page, name));
                case SUMMARY -> assertEquals(33, value(page, name + "_sum"));
                case TIMER -> assertEquals(0.03, value(page, name + "_sum"), 1e-9);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void shouldRefuseAnotherKindOrOtherTags(Metric metric) {
        Meters meters = Meters.none();
        use(meters, metric, some(metric)); // goes nowhere
        String[] more = new String[metric.tags().size() + 1];
        java.util.Arrays.fill(more, "x");
        assertThrows(IllegalArgumentException.class, () -> use(meters, metric, more));
        assertThrows(IllegalArgumentException.class, () -> {
            if (metric.kind() == Metric.Kind.COUNTER) {
                meters.summary(metric, some(metric));
            } else {
                meters.counter(metric, some(metric));
            }
        });
    }

    @Test
    void shouldTellTheJvmsMemoryBesideItsOwn() {
        try (InstanceMetrics instance = new InstanceMetrics()) {
            assertTrue(value(instance.scrape(), "jvm_memory_used_bytes{area=\"heap\"") > 0);
        }
    }

    @Test
    void shouldNameAndExplainEachMetricOnce() {
        Set<String> names = new HashSet<>();
        for (Metric metric : Metric.values()) {
            assertTrue(names.add(metric.prometheusName()), metric + " twice");
            assertTrue(metric.description().endsWith("."), metric + " has no sentence");
        }
    }

    @Test
    void shouldStandInTheReadmeAsPrinted() throws IOException {
        String readme = Files.readString(Path.of("..", "README.md"));
        assertTrue(readme.contains(Metric.markdownTable()), "print it again with `bin/dragoman config --metrics`");
    }
}
