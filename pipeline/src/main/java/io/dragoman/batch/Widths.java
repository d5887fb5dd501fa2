package io.dragoman.batch;

import java.util.ArrayList;
import java.util.List;

/**
 * How wide a batch is padded.
 *
 * <p>A GPU's memory arena keeps a block of each size that it was asked for, and its libraries choose a kernel for each
 * shape; so batches there are padded to few widths, powers of two and the middles between, from {@value #SMALLEST} on. At most a third of
 * a wide batch is padding for it.
 *
 * @param bucketed whether widths are those few, or each batch's own
 * @param widest tokens, the longest source: no bucket is wider
 */
public record Widths(boolean bucketed, int widest) {
    /** As wide as the longest sentence. */
    public static final Widths EXACT = new Widths(false, Integer.MAX_VALUE);

    private static final int SMALLEST = 8;

    public Widths {
        if (widest < 1) {
            throw new IllegalArgumentException("the widest batch should have a token: was " + widest);
        }
    }

    /** The width of a batch whose longest sentence has {@code longest} tokens. */
    public int of(int longest) {
        if (!bucketed || longest >= widest) {
            return longest;
        }
        int bucket = SMALLEST;
        while (bucket < longest) {
            bucket = next(bucket);
        }
        return Math.min(bucket, widest);
    }

    /** All widths there are, the smallest first; only of buckets. */
    public List<Integer> all() {
        if (!bucketed) {
            throw new IllegalStateException("every width is one: there are no buckets");
        }
        List<Integer> all = new ArrayList<>();
        for (int bucket = SMALLEST; bucket < widest; bucket = next(bucket)) {
            all.add(bucket);
        }
        all.add(widest);
        return all;
    }

    /** 8, 12, 16, 24, 32, 48 ... */
    private static int next(int bucket) {
        int power = Integer.highestOneBit(bucket);
        return bucket == power ? power + power / 2 : 2 * power;
    }
}
