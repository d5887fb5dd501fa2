package io.dragoman.chaos;

import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;

/**
 * How a scenario went.
 *
 * @param again sentences translated more than once where none should be (a drain); 0 where that is allowed (a kill)
 */
public record Result(Scenario scenario, int faults, Ledger.Verdict verdict, List<Ledger.Outage> outages, long again) {
    public static final String HEADER = "| scenario | faults | sentences | lost | doubled | out of order |"
            + " longest silence, s | no longer behind after, s |\n| --- | --- | --- | --- | --- | --- | --- | --- |";

    public Result {
        outages = List.copyOf(outages);
    }

    public boolean faultless() {
        return verdict.faultless() && again == 0;
    }

    /** A line of the table below {@link #HEADER}; times are median / worst over the faults. */
    public String row() {
        return String.format(
                Locale.ROOT,
                "| %s | %d | %d | %d | %d | %d | %s | %s |",
                scenario,
                faults,
                verdict.sent(),
                verdict.lost(),
                verdict.doubled(),
                verdict.outOfOrder(),
                medianAndWorst(Ledger.Outage::silence),
                medianAndWorst(Ledger.Outage::behind));
    }

    private String medianAndWorst(Function<Ledger.Outage, Duration> part) {
        List<Duration> sorted =
                outages.stream().map(part).sorted(Comparator.naturalOrder()).toList();
        if (sorted.isEmpty()) {
            return "-";
        }
        return seconds(sorted.get((sorted.size() - 1) / 2)) + " / " + seconds(sorted.get(sorted.size() - 1));
    }

    static String seconds(Duration duration) {
        return String.format(Locale.ROOT, "%.1f", duration.toMillis() / 1e3);
    }
}
