package io.dragoman.chaos;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.chaos.Ledger.Outage;
import io.dragoman.chaos.Ledger.Verdict;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class LedgerTest {
    private static final long SECOND = 1_000_000_000;

    private final Ledger ledger = new Ledger(List.of("t", "a"), 2);

    /** Sentences 0 to n-1 of a partition, one a second from second 0. */
    private void send(int partition, int n) {
        for (int i = 0; i < n; i++) {
            assertEquals(i, ledger.sent(partition, i * SECOND));
        }
    }

    private void arrive(String topic, int partition, long... numbers) {
        for (long number : numbers) {
            ledger.arrived(topic, partition, number, 10 * SECOND);
        }
    }

    @Test
    void shouldFindNoFaultWhenEverythingComesOnceAndInOrderFromBothTopics() {
        send(0, 3);
        send(1, 1);
        arrive("t", 0, 0, 1, 2);
        arrive("a", 0, 0, 1, 2);
        arrive("a", 1, 0);
        arrive("t", 1, 0);
        assertEquals(new Verdict(4, 0, 0, 0), ledger.verdict());
        assertTrue(ledger.verdict().faultless());
        assertEquals(Duration.ZERO, ledger.waiting(99 * SECOND));
    }

    @Test
    void shouldCountASentenceAsLostOnceWhenARecordOfItIsMissingAnywhere() {
        send(0, 4);
        arrive("t", 0, 0, 2);
        arrive("a", 0, 0, 2, 3);
        assertEquals(new Verdict(4, 2, 0, 0), ledger.verdict(), "1 is in neither topic, 3 in one");
        assertFalse(ledger.verdict().faultless());
    }

    @Test
    void shouldTellARecordThatComesLateFromOneThatComesTwice() {
        send(0, 4);
        arrive("t", 0, 0, 2, 1, 3, 3, 1);
        arrive("a", 0, 0, 1, 2, 3);
        assertEquals(new Verdict(4, 0, 2, 1), ledger.verdict());
    }

    @Test
    void shouldTellHowLongTheOldestSentenceWaits() {
        send(0, 3);
        send(1, 3);
        arrive("t", 0, 0, 1, 2);
        arrive("a", 0, 0, 1, 2);
        arrive("t", 1, 0, 1, 2);
        arrive("a", 1, 0, 2);
        assertEquals(Duration.ofSeconds(8), ledger.waiting(9 * SECOND), "number 1 was sent at 1 s");
    }

    @Test
    void shouldMeasureTheLongestSilenceOfAPartitionAndHowLongSentencesWaitTooLong() {
        send(0, 30);
        ledger.arrived("t", 0, 0, SECOND);
        ledger.fault(2 * SECOND);
        ledger.tick(3 * SECOND);
        ledger.tick(8 * SECOND);
        for (int i = 1; i < 9; i++) {
            ledger.arrived("t", 0, i, 9 * SECOND);
        }
        for (int i = 0; i < 9; i++) {
            ledger.arrived("a", 0, i, 9 * SECOND);
        }
        ledger.tick(10 * SECOND);
        assertEquals(new Outage(Duration.ofSeconds(9), Duration.ofSeconds(6)), ledger.over());
        ledger.fault(10 * SECOND);
        ledger.arrived("t", 0, 9, 10 * SECOND);
        assertEquals(new Outage(Duration.ofSeconds(1), Duration.ZERO), ledger.over());
    }

    @Test
    void shouldRefuseWhatNobodySent() {
        send(0, 1);
        assertThrows(IllegalArgumentException.class, () -> arrive("t", 0, 1));
        assertThrows(IllegalArgumentException.class, () -> arrive("other", 0, 0));
    }

    @Test
    void shouldNotWaitForASentenceThatWasMeantToBeRejected() {
        for (boolean early :
                new boolean[] {true, false}) { // its rejection is read before or after its neighbours' results
            Ledger ledger = new Ledger(List.of("translations", "alignments"), 1);
            for (int i = 0; i < 4; i++) {
                ledger.sent(0, 0);
            }
            if (early) {
                ledger.excused(0, 1);
            }
            for (String topic : List.of("translations", "alignments")) {
                ledger.arrived(topic, 0, 0, 1);
                ledger.arrived(topic, 0, 2, 1);
            }
            if (!early) {
                assertEquals(2, ledger.verdict().lost());
                ledger.excused(0, 1);
            }
            assertEquals(new Ledger.Verdict(4, 1, 0, 0), ledger.verdict());
            ledger.arrived("translations", 0, 1, 2);
            assertEquals(1, ledger.verdict().doubled(), "it came out though it was rejected");
        }
    }
}
