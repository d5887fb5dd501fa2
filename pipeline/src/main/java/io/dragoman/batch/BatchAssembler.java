package io.dragoman.batch;

import io.dragoman.config.Priority;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.function.ToIntFunction;

/**
 * Decides when the next batch is due and which waiting sentences go into it.
 *
 * <p>Sentences stand in line by their deadline: when they came, and {@code allowance} more for each class that their priority is
 * below the highest. So one class goes before the next lower one, but only before what came at most {@code allowance} before:
 * whoever has waited that much longer is not overtaken any more. {@link #hurry} moves some to the front, because somebody
 * waits for them. A
 * batch is due on the first of: {@code rows} sentences wait, they have {@code paddedTokens} tokens, the oldest has waited
 * for {@code linger}. Out of the first {@code window} in line, the first of all always goes, with as many of those nearest
 * to it in length as make a token cheapest: a run costs its padded tokens, {@code rows} times the longest, and {@code
 * runCost} besides. So little is padding, and nobody is passed over for ever: <b>a sentence with n before it in line leaves with the
 * (n+1)th batch at the latest, the first of those that were hurried with the next.</b> A sentence longer than {@code paddedTokens} goes
 * alone. Where several workers take batches, the last of what waits is shared out, in parts of no fewer tokens than a run costs
 * besides, so that all of them end at about the same time.
 *
 * <p>The caller bounds how much waits; times are from one monotonic clock, in nanoseconds. Threading: none, the caller
 * holds a lock.
 *
 * @param <T> what waits
 */
public final class BatchAssembler<T> {
    private record Waiting<T>(T sentence, int length, long since, long deadline) {}

    /** What a worker is at; {@code cost} in tokens, that of the run itself included. */
    private record Running<T>(List<T> batch, long cost, long since) {}

    private final BatchLimits limits;
    private final int workers;
    private final ToIntFunction<? super T> lengthOf;
    /** The line, by deadline. */
    private final ArrayList<Waiting<T>> waiting = new ArrayList<>();

    private long waitingTokens;
    private final List<Running<T>> running = new ArrayList<>();
    private double nanosOfToken; // of the run that ended last; 0 before

    /** @param workers how many take batches, each one at a time */
    public BatchAssembler(BatchLimits limits, int workers, ToIntFunction<? super T> lengthOf) {
        this.limits = limits;
        this.workers = workers;
        this.lengthOf = lengthOf;
    }

    public void add(T sentence, Priority priority, long now) {
        int length = lengthOf.applyAsInt(sentence);
        long deadline =
                now + priority.classesBelowHighest() * limits.allowance().toNanos();
        int place = waiting.size();
        while (place > 0 && waiting.get(place - 1).deadline() > deadline) {
            place--;
        }
        waiting.add(place, new Waiting<>(sentence, length, now, deadline));
        waitingTokens += length;
    }

    /**
     * Puts the sentences that {@code wanted} holds for at the front, in the order they wait in; false when none does.
     *
     * @param count for how many it holds at most: no more are looked for
     */
    public boolean hurry(Predicate<? super T> wanted, int count) {
        List<Waiting<T>> hurried = new ArrayList<>();
        List<Waiting<T>> others = new ArrayList<>();
        int seen = 0;
        while (seen < waiting.size() && hurried.size() < count) {
            Waiting<T> entry = waiting.get(seen++);
            (wanted.test(entry.sentence()) ? hurried : others).add(entry);
        }
        if (hurried.isEmpty()) {
            return false;
        }
        long first = waiting.get(0).deadline();
        hurried.replaceAll(entry ->
                new Waiting<>(entry.sentence(), entry.length(), entry.since(), Math.min(entry.deadline(), first)));
        hurried.addAll(others);
        for (int i = 0; i < seen; i++) {
            waiting.set(i, hurried.get(i));
        }
        return true;
    }

    public int size() {
        return waiting.size();
    }

    /** About how many batches could be full. */
    public long fullBatches() {
        return Math.max(waiting.size() / limits.rows(), waitingTokens / limits.paddedTokens());
    }

    /** Nanoseconds until a batch is due, 0 when one is; empty when nobody waits. */
    public Optional<Long> dueIn(long now) {
        if (waiting.isEmpty()) {
            return Optional.empty();
        }
        if (fullBatches() > 0) {
            return Optional.of(0L);
        }
        long oldest = waiting.stream().mapToLong(Waiting::since).min().orElse(now);
        return Optional.of(Math.max(0, limits.linger().toNanos() - (now - oldest)));
    }

    /**
     * The next batch when one is due, in the order of the line; otherwise an empty list. It counts as running until {@link
     * #ended}.
     */
    public List<T> next(long now) {
        if (dueIn(now).filter(nanos -> nanos == 0).isEmpty()) {
            return List.of();
        }
        List<T> batch = take(runningTokens(now));
        long tokens = batch.stream().mapToLong(lengthOf::applyAsInt).sum();
        running.add(new Running<>(batch, limits.runCost() + tokens, now));
        return batch;
    }

    /** A worker is free again; {@code batch} is the very list that {@link #next} gave. */
    public void ended(List<T> batch, long now) {
        for (Iterator<Running<T>> all = running.iterator(); all.hasNext(); ) {
            Running<T> run = all.next();
            if (run.batch() == batch) {
                nanosOfToken = (double) (now - run.since()) / run.cost();
                all.remove();
            }
        }
    }

    /** A batch now, due or not; empty only when nobody waits. */
    public List<T> take() {
        return take(0);
    }

    /** @param others what the other workers are still at, in tokens */
    private List<T> take(long others) {
        if (waiting.isEmpty()) {
            return List.of();
        }
        int considered = Math.min(limits.window(), waiting.size());
        long[] byLength = new long[considered]; // the length before the place in line: one sort of plain numbers
        for (int i = 0; i < considered; i++) {
            byLength[i] = ((long) waiting.get(i).length() << Integer.SIZE) | i;
        }
        long first = byLength[0];
        Arrays.sort(byLength);
        return remove(chooseAround(byLength, Arrays.binarySearch(byLength, first), share(others)));
    }

    /**
     * Widens from the first sentence to its neighbours in length, the nearer one first, while the limits hold, to {@code
     * most} rows; then takes as many as carry the most tokens for their cost.
     */
    private boolean[] chooseAround(long[] byLength, int first, int most) {
        boolean[] chosen = new boolean[byLength.length];
        int[] order = new int[Math.min(most, byLength.length)];
        order[0] = placeAt(byLength, first);
        int shorter = first - 1;
        int longer = first + 1;
        int base = lengthAt(byLength, first);
        int longest = base;
        long tokens = base;
        double bestYield = (double) tokens / (limits.runCost() + width(longest));
        int bestRows = 1;
        for (int rows = 1; rows < order.length; rows++) {
            boolean canLonger = longer < byLength.length
                    && (rows + 1L) * width(lengthAt(byLength, longer)) <= limits.paddedTokens();
            boolean canShorter = shorter >= 0 && (rows + 1L) * width(longest) <= limits.paddedTokens();
            if (!canLonger && !canShorter) {
                break;
            }
            boolean goLonger = canLonger
                    && (!canShorter || lengthAt(byLength, longer) - base <= base - lengthAt(byLength, shorter));
            int position = goLonger ? longer++ : shorter--;
            longest = Math.max(longest, lengthAt(byLength, position));
            order[rows] = placeAt(byLength, position);
            tokens += lengthAt(byLength, position);
            double yield = tokens / (limits.runCost() + (rows + 1.0) * width(longest));
            if (yield >= bestYield) {
                bestYield = yield;
                bestRows = rows + 1;
            }
        }
        for (int i = 0; i < bestRows; i++) {
            chosen[order[i]] = true;
        }
        return chosen;
    }

    /**
     * Most rows of the next batch: all it may have, until what waits is no more than one batch for each worker; then an
     * even part, so that none ends long before the others (guided self-scheduling: Polychronopoulos and Kuck, IEEE
     * Transactions on Computers 36(12), 1987). What the others are at is known, so a part is as much as makes this worker
     * end with them, if that is more: of two idle ones the second takes all that the first has left.
     */
    private int share(long others) {
        long parts = Math.max(1, Math.min(workers, waitingTokens / limits.runCost()));
        double even = (double) (waitingTokens + others) / workers;
        long untilTheOthersEnd = (long) Math.ceil(waiting.size() * Math.min(1, even / Math.max(1, waitingTokens)));
        return (int) Math.min(limits.rows(), Math.max((waiting.size() + parts - 1) / parts, untilTheOthersEnd));
    }

    /** What is left of the runs, in tokens, as long as they go on like the last one. */
    private long runningTokens(long now) {
        double left = 0;
        for (Running<T> run : running) {
            double done = nanosOfToken == 0 ? 0 : (now - run.since()) / nanosOfToken;
            left += Math.max(0, run.cost() - done);
        }
        return (long) left;
    }

    private int width(int longest) {
        return limits.widths().of(longest);
    }

    private static int lengthAt(long[] byLength, int position) {
        return (int) (byLength[position] >>> Integer.SIZE);
    }

    private static int placeAt(long[] byLength, int position) {
        return (int) byLength[position];
    }

    private List<T> remove(boolean[] chosen) {
        List<T> batch = new ArrayList<>();
        int kept = 0;
        for (int i = 0; i < waiting.size(); i++) {
            Waiting<T> entry = waiting.get(i);
            if (i < chosen.length && chosen[i]) {
                batch.add(entry.sentence());
                waitingTokens -= entry.length();
            } else {
                waiting.set(kept++, entry);
            }
        }
        waiting.subList(kept, waiting.size()).clear();
        return batch;
    }
}
