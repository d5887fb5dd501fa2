package io.dragoman.chaos;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class SoakTest {
    private static final double MEGABYTE = 1 << 20;
    private static final Ledger.Verdict ORDERLY = new Ledger.Verdict(9000, 5000, 0, 0);

    private static Soak.Sample sample(int second, double megabytes, long open, double poll, double rebalances) {
        return new Soak.Sample(
                Duration.ofSeconds(second), megabytes * MEGABYTE, 100 * MEGABYTE, open, 10, 900, 2.5, poll, rebalances);
    }

    /** Sixteen samples whose memory grows by {@code step} MB each. */
    private static List<Soak.Sample> growing(double step) {
        List<Soak.Sample> samples = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            samples.add(sample(15 * i, 400 + step * i, 120_000, 4, 3));
        }
        return samples;
    }

    @Test
    void shouldTellFlatMemoryFromMemoryThatGrows() {
        Soak.Report flat = new Soak.Report(growing(0.5), ORDERLY, 300, 100_000);
        assertTrue(flat.good(), flat.toString());
        assertTrue(flat.toString().endsWith("\nbounded"), flat.toString());
        // from 400 + 5 x 6 in the second quarter to 400 + 5 x 14 in the last
        Soak.Report growing = new Soak.Report(growing(5), ORDERLY, 300, 100_000);
        assertFalse(growing.good(), growing.toString());
        assertTrue(
                growing.toString().contains("median 430 MB in the second quarter, 470 MB in the last: +9.3 %"),
                growing.toString());
        assertTrue(growing.toString().endsWith("NOT bounded"), growing.toString());
    }

    @Test
    void shouldNotCallItGoodWhenAnythingElseWentWrong() {
        List<Soak.Sample> late = growing(0);
        late.set(7, sample(105, 400, 120_000, 301, 3));
        assertFalse(new Soak.Report(late, ORDERLY, 300, 100_000).good(), "polled too late");
        List<Soak.Sample> rebalanced = growing(0);
        rebalanced.set(15, sample(225, 400, 120_000, 4, 4));
        assertFalse(new Soak.Report(rebalanced, ORDERLY, 300, 100_000).good(), "a rebalance");
        List<Soak.Sample> idle = growing(0);
        idle.set(3, sample(45, 400, 90_000, 4, 3));
        assertFalse(new Soak.Report(idle, ORDERLY, 300, 100_000).good(), "too few waited");
        assertFalse(new Soak.Report(growing(0), new Ledger.Verdict(9, 0, 1, 0), 300, 1).good(), "doubled");
        assertFalse(new Soak.Report(growing(0), new Ledger.Verdict(9, 0, 0, 1), 300, 1).good(), "out of order");
    }

    @Test
    void shouldReadPrometheusText() {
        MetricsPage page = new MetricsPage(
                """
                # HELP a_total Something.
                # TYPE a_total counter
                a_total{x="1"} 2.0
                a_total{x="2"} 3.5
                a_total_more 7.0
                b 1.5E7
                c{area="heap",id="one"} 1.0
                c{area="heap",id="two"} 2.0
                c{area="nonheap",id="two"} 4.0
                d{x="1"} NaN
                """);
        assertEquals(5.5, page.sum("a_total"));
        assertEquals(3.5, page.max("a_total"));
        assertEquals(1.5e7, page.sum("b"));
        assertEquals(3, page.sum("c{area=\"heap\""));
        assertEquals(0, page.max("d"));
        assertEquals(0, page.sum("missing"));
    }

    @Test
    void shouldCountWhatIsOpen() {
        Ledger ledger = new Ledger(List.of("translations", "alignments"), 2);
        for (int i = 0; i < 3; i++) {
            ledger.sent(0, 0);
            ledger.sent(1, 0);
        }
        assertEquals(6, ledger.open());
        ledger.arrived("translations", 0, 0, 1);
        assertEquals(6, ledger.open(), "its alignment is missing");
        ledger.arrived("alignments", 0, 0, 1);
        assertEquals(5, ledger.open());
    }
}
