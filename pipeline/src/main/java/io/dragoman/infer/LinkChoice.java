package io.dragoman.infer;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * How hard links come from attention; a bundle records the choice that scored best against gold links.
 *
 * @param end what becomes of the column of the source's end
 * @param merge what a target word's weights are of its tokens'; over a source word's tokens it is always the sum
 * @param threshold null links a target word to its heaviest source word, the first on a tie; a number links it to every
 *     source word of at least this weight
 * @param joined null when target words alone choose. Otherwise a target word chooses its heaviest source word, if that
 *     has at least {@code threshold}; a source word the target word that gives it the most, the first on a tie, if that
 *     is at least {@code sourceThreshold}; and both become one set as the links of two directions do
 * @param sourceThreshold null for none
 */
@JsonIgnoreProperties(ignoreUnknown = true)
public record LinkChoice(
        @JsonProperty(value = "end", required = true) End end,
        @JsonProperty(value = "merge", required = true) Merge merge,
        @JsonProperty("threshold") @Nullable Float threshold,
        @JsonProperty("joined") @Nullable Joined joined,
        @JsonProperty("source_threshold") @Nullable Float sourceThreshold) {
    /** What bundles that do not say are read with. */
    public static final LinkChoice DEFAULT = new LinkChoice(End.DROPPED, Merge.MEAN, null);

    /** Target words alone choose. */
    public LinkChoice(End end, Merge merge, @Nullable Float threshold) {
        this(end, merge, threshold, null, null);
    }

    /** The column of the source's end. */
    public enum End {
        /** Takes no part. */
        @JsonProperty("dropped")
        DROPPED,
        /** Takes no part, and the rest of each row is made to sum to 1. */
        @JsonProperty("renormalised")
        RENORMALISED,
        /** Is a word of its own: a target word whose largest weight is there gets no link. */
        @JsonProperty("kept")
        KEPT
    }

    /** Over the tokens of a target word. */
    public enum Merge {
        @JsonProperty("mean")
        MEAN,
        @JsonProperty("sum")
        SUM,
        @JsonProperty("max")
        MAX
    }

    /** Of what target words and what source words chose; Och and Ney 2003, section 4, of two directions. */
    public enum Joined {
        /** What both chose. */
        @JsonProperty("intersection")
        INTERSECTION,
        /** What both chose, and what either chose beside it; Koehn, Och and Marcu 2003, section 4.5. */
        @JsonProperty("grow-diag")
        GROW_DIAG
    }

    @Override
    public String toString() {
        String rule = rule(threshold);
        return "end " + name(end) + ", " + name(merge) + ", "
                + (joined == null ? rule : name(joined) + " of " + rule + " and " + rule(sourceThreshold));
    }

    private static String name(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    private static String rule(@Nullable Float threshold) {
        return threshold == null ? "argmax" : ">= " + threshold;
    }
}
