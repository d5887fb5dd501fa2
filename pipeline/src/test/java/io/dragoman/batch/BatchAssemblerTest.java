package io.dragoman.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.config.Priority;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class BatchAssemblerTest {
    private static final Duration LINGER = Duration.ofNanos(100);
    private static final Duration ALLOWANCE = Duration.ofNanos(1000);

    /** A sentence: its place in the input and its length. */
    private record Sentence(int number, int length) {}

    private static BatchAssembler<Sentence> assembler(int rows, int tokens, int window) {
        return new BatchAssembler<>(
                new BatchLimits(rows, tokens, LINGER, window, 1000, ALLOWANCE), 1, Sentence::length);
    }

    /** Adds sentences of these lengths at time 0, numbered from 0. */
    private static BatchAssembler<Sentence> waiting(int rows, int tokens, int window, int... lengths) {
        BatchAssembler<Sentence> assembler = assembler(rows, tokens, window);
        for (int i = 0; i < lengths.length; i++) {
            assembler.add(new Sentence(i, lengths[i]), Priority.NORMAL, 0);
        }
        return assembler;
    }

    private static List<Integer> numbers(List<Sentence> batch) {
        return batch.stream().map(Sentence::number).toList();
    }

    @Test
    void shouldCountPaddingUpToTheBucket() {
        BatchLimits limits =
                new BatchLimits(8, 48, LINGER, 10, 1000, ALLOWANCE, new Widths(true, 100)); // 17 is padded to 24
        BatchAssembler<Sentence> assembler = new BatchAssembler<>(limits, 1, Sentence::length);
        for (int i = 0; i < 4; i++) {
            assembler.add(new Sentence(i, 13 + 2 * i), Priority.NORMAL, 0); // 13, 15, 17, 19
        }
        assertEquals(List.of(0, 1), numbers(assembler.take())); // three with 17 would be 72 tokens
        assertEquals(List.of(2, 3), numbers(assembler.take()));
    }

    @Test
    void shouldTakeAHurriedSentenceNextEvenFromBehindTheWindow() {
        BatchAssembler<Sentence> assembler = waiting(2, 100, 3, 4, 9, 5, 20, 21);
        assertTrue(assembler.hurry(sentence -> sentence.number() == 4, 1));
        assertEquals(List.of(4, 1), numbers(assembler.take())); // the window now holds 4, 0 and 1
        assertEquals(List.of(0, 2), numbers(assembler.take()));
        assertEquals(List.of(3), numbers(assembler.take()));
    }

    @Test
    void shouldTakeAllHurriedSentencesInTheirOrder() {
        BatchAssembler<Sentence> assembler = waiting(1, 100, 3, 4, 9, 5, 20, 21);
        assertTrue(assembler.hurry(sentence -> sentence.number() % 2 == 1, 2));
        List<Integer> taken = new java.util.ArrayList<>();
        while (assembler.size() > 0) {
            taken.addAll(numbers(assembler.take()));
        }
        assertEquals(List.of(1, 3, 0, 2, 4), taken);
    }

    @Test
    void shouldNotLetAHurriedSentenceDelayTheLingerOfAnOlderOne() {
        BatchAssembler<Sentence> assembler = waiting(10, 100, 10, 4);
        assembler.add(new Sentence(1, 4), Priority.NORMAL, 60);
        assertTrue(assembler.hurry(sentence -> sentence.number() == 1, 1));
        assertEquals(Optional.of(40L), assembler.dueIn(60));
        assertFalse(assembler.hurry(sentence -> sentence.number() == 7, 1), "nobody of that name waits");
    }

    @Test
    void shouldBeDueNeverWhileNobodyWaits() {
        BatchAssembler<Sentence> assembler = assembler(2, 100, 10);
        assertEquals(Optional.empty(), assembler.dueIn(0));
        assertEquals(List.of(), assembler.next(1_000_000));
        assertEquals(List.of(), assembler.take());
        assertEquals(0, assembler.size());
    }

    @Test
    void shouldBeDueWhenTheOldestHasLingered() {
        BatchAssembler<Sentence> assembler = assembler(10, 100, 10);
        assembler.add(new Sentence(0, 5), Priority.NORMAL, 1000);
        assembler.add(new Sentence(1, 5), Priority.NORMAL, 1060);
        assertEquals(Optional.of(100L), assembler.dueIn(1000));
        assertEquals(Optional.of(1L), assembler.dueIn(1099));
        assertEquals(List.of(), assembler.next(1099));
        assertEquals(2, assembler.size());
        assertEquals(Optional.of(0L), assembler.dueIn(1100));
        assertEquals(Optional.of(0L), assembler.dueIn(5000));
        assertEquals(List.of(0, 1), numbers(assembler.next(1100)));
        assertEquals(0, assembler.size());
    }

    @Test
    void shouldBeDueAtOnceWhenTheRowsAreFull() {
        BatchAssembler<Sentence> assembler = waiting(3, 100, 10, 4, 4);
        assertEquals(List.of(), assembler.next(0));
        assembler.add(new Sentence(2, 4), Priority.NORMAL, 0);
        assertEquals(List.of(0, 1, 2), numbers(assembler.next(0)));
    }

    @Test
    void shouldBeDueAtOnceWhenTheTokensAreEnough() {
        BatchAssembler<Sentence> assembler = waiting(10, 20, 10, 10, 9);
        assertEquals(List.of(), assembler.next(0));
        assembler.add(new Sentence(2, 1), Priority.NORMAL, 0);
        assertEquals(Optional.of(0L), assembler.dueIn(0));
        assembler.take();
        assembler.add(new Sentence(3, 18), Priority.NORMAL, 0);
        assertEquals(Optional.of(100L), assembler.dueIn(0), "what has left does not count");
    }

    @Test
    void shouldCountTheNextBatchesLingerFromItsOwnOldest() {
        BatchAssembler<Sentence> assembler = waiting(2, 100, 10, 4, 4);
        assembler.add(new Sentence(2, 4), Priority.NORMAL, 70);
        assertEquals(List.of(0, 1), numbers(assembler.next(70)));
        assertEquals(Optional.of(100L), assembler.dueIn(70));
        assertEquals(List.of(), assembler.next(169));
        assertEquals(List.of(2), numbers(assembler.next(170)));
    }

    @Test
    void shouldTakeTheOldestWithItsNeighboursInLength() {
        // lengths   10 |  3  11  30   9  12
        BatchAssembler<Sentence> assembler = waiting(4, 1000, 10, 10, 3, 11, 30, 9, 12);
        assertEquals(List.of(0, 2, 4, 5), numbers(assembler.take()));
        assertEquals(List.of(1, 3), numbers(assembler.take()));
    }

    @Test
    void shouldPickOnlyFromTheWindow() {
        BatchAssembler<Sentence> assembler = waiting(2, 1000, 3, 10, 30, 20, 10);
        assertEquals(List.of(0, 2), numbers(assembler.take()));
        assertEquals(List.of(1, 3), numbers(assembler.take()));
    }

    @Test
    void shouldStopAtThePaddedTokens() {
        // with 8 too it would be 3 x 8 = 24
        BatchAssembler<Sentence> assembler = waiting(10, 20, 10, 6, 8, 6);
        assertEquals(List.of(0, 2), numbers(assembler.take()));
        assertEquals(List.of(1), numbers(assembler.take()));
    }

    @Test
    void shouldFillAFixedBudgetExactly() {
        BatchAssembler<Sentence> assembler = waiting(10, 20, 10, 5, 5, 5, 5, 5);
        assertEquals(List.of(0, 1, 2, 3), numbers(assembler.take()));
        assertEquals(List.of(4), numbers(assembler.take()));
    }

    @Test
    void shouldGoOnWithShorterOnesWhenALongerOneDoesNotFit() {
        // nearest to 6 is 7, but 2 x 7 = 14 is more than 12: 4 goes
        BatchAssembler<Sentence> assembler = waiting(10, 12, 10, 6, 7, 4);
        assertEquals(List.of(0, 2), numbers(assembler.take()));
    }

    @Test
    void shouldSendAnOverLongSentenceAlone() {
        BatchAssembler<Sentence> assembler = waiting(10, 20, 10, 50, 3, 3);
        assertEquals(List.of(0), numbers(assembler.take()));
        assertEquals(List.of(1, 2), numbers(assembler.take()));
    }

    @Test
    void shouldLoseAndDoubleNothingAndKeepTheLimits() {
        Random random = new Random(20_151);
        for (int round = 0; round < 200; round++) {
            int rows = 1 + random.nextInt(16);
            int tokens = 1 + random.nextInt(200);
            BatchAssembler<Sentence> assembler = assembler(rows, tokens, 1 + random.nextInt(64));
            int added = 0;
            long now = 0;
            Set<Integer> left = new HashSet<>();
            while (left.size() < 300) {
                now += random.nextInt(60);
                if (added < 300 && random.nextInt(4) > 0) {
                    assembler.add(new Sentence(added++, 1 + random.nextInt(40)), Priority.NORMAL, now);
                    continue;
                }
                int oldest = oldest(left);
                List<Sentence> batch = added < 300 ? assembler.next(now) : assembler.take();
                if (batch.isEmpty()) {
                    continue;
                }
                int longest = batch.stream().mapToInt(Sentence::length).max().orElseThrow();
                assertTrue(batch.size() <= rows);
                assertTrue(batch.size() == 1 || batch.size() * longest <= tokens);
                assertEquals(oldest, batch.get(0).number(), "the oldest goes, first");
                for (int i = 0; i < batch.size(); i++) {
                    assertTrue(left.add(batch.get(i).number()), "twice");
                    assertTrue(
                            i == 0 || batch.get(i - 1).number() < batch.get(i).number(), "in order of arrival");
                }
            }
            assertEquals(300, added);
            assertEquals(0, assembler.size());
            assertEquals(Optional.empty(), assembler.dueIn(now));
        }
    }

    private static int oldest(Set<Integer> left) {
        int oldest = 0;
        while (left.contains(oldest)) {
            oldest++;
        }
        return oldest;
    }

    @Test
    void shouldLetNobodyWaitLongerThanStated() {
        Random random = new Random(3);
        BatchAssembler<Sentence> assembler = assembler(4, 60, 32);
        List<Integer> bound = new ArrayList<>(); // by number: the last batch it may leave with
        int batches = 0;
        int added = 0;
        for (int step = 0; step < 3000; step++) {
            for (int i = random.nextInt(8); i > 0; i--) {
                bound.add(batches + assembler.size() + 1);
                assembler.add(new Sentence(added++, random.nextInt(10) == 0 ? 30 : 5), Priority.NORMAL, step);
            }
            batches++;
            for (Sentence sentence : assembler.take()) {
                assertTrue(batches <= bound.get(sentence.number()), "batch " + batches);
            }
        }
        assertTrue(added > 9000);
    }

    @Test
    void shouldLeaveOthersToAnotherRunWhereThatIsCheaper() {
        int[] lengths = {10, 10, 10, 10, 40, 40, 40, 40};
        BatchAssembler<Sentence> cheap =
                new BatchAssembler<>(new BatchLimits(8, 1000, LINGER, 10, 20, ALLOWANCE), 1, Sentence::length);
        BatchAssembler<Sentence> dear =
                new BatchAssembler<>(new BatchLimits(8, 1000, LINGER, 10, 900, ALLOWANCE), 1, Sentence::length);
        for (int i = 0; i < lengths.length; i++) {
            cheap.add(new Sentence(i, lengths[i]), Priority.NORMAL, 0);
            dear.add(new Sentence(i, lengths[i]), Priority.NORMAL, 0);
        }
        // two runs: 2 x 20 + 4 x 10 + 4 x 40 = 240; one run: 20 + 8 x 40 = 340
        assertEquals(List.of(0, 1, 2, 3), numbers(cheap.take()));
        assertEquals(List.of(4, 5, 6, 7), numbers(cheap.take()));
        assertEquals(8, dear.take().size());
    }

    @Test
    void shouldShareWhatWaitsAmongTheWorkers() {
        assertEquals(List.of(32, 32, 16, 16), batchSizes(2, 96)); // not 32 for one while the other has nothing to do
        assertEquals(List.of(32, 32, 32), batchSizes(1, 96));
        assertEquals(List.of(32, 23, 15, 10, 10, 10), batchSizes(3, 100));
    }

    @Test
    void shouldNotShareWhatIsCheaperInOneRun() {
        assertEquals(List.of(19), batchSizes(2, 19)); // a run costs as much as ten sentences
        assertEquals(List.of(10, 10), batchSizes(2, 20));
    }

    @Test
    void shouldTakeAsMuchAsTheOthersAreStillAt() {
        BatchAssembler<Sentence> assembler =
                new BatchAssembler<>(new BatchLimits(64, 10_000, LINGER, 1000, 100, ALLOWANCE), 2, Sentence::length);
        addTens(assembler, 96);
        List<Sentence> first = assembler.next(0);
        List<Sentence> second = assembler.next(0);
        assertEquals(List.of(48, 48), List.of(first.size(), second.size()), "both idle: both end at the same time");
        assembler.ended(first, 580_000); // 100 + 48 x 10 tokens: 1,000 each
        addTens(assembler, 40);
        List<Sentence> third = assembler.next(580_000);
        assertEquals(20, third.size(), "the other is as good as done and takes the rest");
        assembler.ended(second, 680_000);
        assertEquals(20, assembler.next(680_000).size(), "the other has as many tokens left as wait");
        assembler.ended(third, 880_000);
        addTens(assembler, 20);
        assertEquals(15, assembler.next(880_000).size(), "and half as many now");
    }

    private static void addTens(BatchAssembler<Sentence> assembler, int sentences) {
        for (int i = 0; i < sentences; i++) {
            assembler.add(new Sentence(i, 10), Priority.NORMAL, -LINGER.toNanos());
        }
    }

    /** Of sentences of ten tokens, in batches of at most 32. */
    private static List<Integer> batchSizes(int workers, int sentences) {
        BatchAssembler<Sentence> assembler = new BatchAssembler<>(
                new BatchLimits(32, 10_000, LINGER, 1000, 100, ALLOWANCE), workers, Sentence::length);
        for (int i = 0; i < sentences; i++) {
            assembler.add(new Sentence(i, 10), Priority.NORMAL, 0);
        }
        List<Integer> sizes = new ArrayList<>();
        while (assembler.size() > 0) {
            sizes.add(assembler.take().size());
        }
        return sizes;
    }

    @Test
    void shouldLetAHigherClassGoFirst() {
        BatchAssembler<Sentence> assembler = assembler(1, 100, 1);
        assembler.add(new Sentence(0, 5), Priority.LOW, 0);
        assembler.add(new Sentence(1, 5), Priority.NORMAL, 10);
        assembler.add(new Sentence(2, 5), Priority.HIGH, 20);
        assembler.add(new Sentence(3, 5), Priority.HIGH, 30);
        List<Integer> left = new ArrayList<>();
        while (assembler.size() > 0) {
            left.addAll(numbers(assembler.take()));
        }
        assertEquals(List.of(2, 3, 1, 0), left);
    }

    @Test
    void shouldLetNobodyOvertakeWhoHasWaitedForTheAllowance() {
        BatchAssembler<Sentence> assembler = assembler(1, 100, 1);
        assembler.add(new Sentence(0, 5), Priority.NORMAL, 0);
        assembler.add(new Sentence(1, 5), Priority.HIGH, 1000);
        assembler.add(new Sentence(2, 5), Priority.HIGH, 999);
        assertEquals(List.of(2), numbers(assembler.take()));
        assertEquals(List.of(0), numbers(assembler.take()));
        assertEquals(List.of(1), numbers(assembler.take()));
    }

    @Test
    void shouldBeDueByWhoeverCameFirstWhereverItStands() {
        BatchAssembler<Sentence> assembler = assembler(5, 1000, 5);
        assembler.add(new Sentence(0, 5), Priority.LOW, 0);
        assembler.add(new Sentence(1, 5), Priority.HIGH, 60);
        assertEquals(Optional.of(40L), assembler.dueIn(60));
    }

    /** Sentences come faster than they leave, mostly of the highest class, by a random process; nobody starves. */
    @Test
    void shouldStarveNoClassUnderOverload() {
        Random random = new Random(5);
        int rows = 4;
        BatchAssembler<Sentence> assembler = assembler(rows, 1000, 16);
        List<Long> deadlines = new ArrayList<>(); // by number
        int added = 0;
        for (long now = 0; now < 20_000; now += 10) { // a run takes 10
            for (int i = random.nextInt(10); i > 0; i--) {
                Priority priority = Priority.values()[random.nextInt(10) < 8 ? 0 : 1 + random.nextInt(2)];
                deadlines.add(now + priority.classesBelowHighest() * ALLOWANCE.toNanos());
                assembler.add(new Sentence(added++, 1 + random.nextInt(30)), priority, now);
            }
            long first = Long.MAX_VALUE;
            List<Sentence> batch = assembler.take();
            for (Sentence sentence : batch) {
                first = Math.min(first, deadlines.get(sentence.number()));
                deadlines.set(sentence.number(), Long.MAX_VALUE);
            }
            long earliest = deadlines.stream().mapToLong(Long::longValue).min().orElse(Long.MAX_VALUE);
            assertTrue(batch.isEmpty() || first <= earliest, "the first in line goes with every batch");
        }
        assertTrue(assembler.size() > 0, "there was more than could leave");
    }

    @Test
    void shouldPadLessWithAWindow() {
        assertEquals(0.5, padding(32), 0.1);
        assertTrue(padding(512) < 0.1, "padding with a window: " + padding(512));
    }

    /** Share of padding in the batches of 2,000 sentences of 2 to 60 tokens, 32 rows a batch. */
    private static double padding(int window) {
        Random random = new Random(11);
        BatchAssembler<Sentence> assembler = assembler(32, 4096, window);
        long padded = 0;
        long real = 0;
        for (int i = 0; i < 2000; i++) {
            assembler.add(new Sentence(i, 2 + random.nextInt(59)), Priority.NORMAL, 0);
            while (assembler.size() >= 512 || (i == 1999 && assembler.size() > 0)) {
                List<Sentence> batch = assembler.take();
                padded += (long) batch.size()
                        * batch.stream().mapToInt(Sentence::length).max().orElseThrow();
                real += batch.stream().mapToInt(Sentence::length).sum();
            }
        }
        return 1 - real / (double) padded;
    }
}
