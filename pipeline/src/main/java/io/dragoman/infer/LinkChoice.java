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
 */
@JsonIgnoreProperties(ignoreUnknown = true)
public record LinkChoice(
        @JsonProperty(value = "end", required = true) End end,
        @JsonProperty(value = "merge", required = true) Merge merge,
        @JsonProperty("threshold") @Nullable Float threshold) {
    /** What bundles that do not say are read with. */
    public static final LinkChoice DEFAULT = new LinkChoice(End.DROPPED, Merge.MEAN, null);

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

    @Override
    public String toString() {
        return "end " + end.name().toLowerCase(Locale.ROOT) + ", "
                + merge.name().toLowerCase(Locale.ROOT) + ", "
                + (threshold == null ? "argmax" : ">= " + threshold);
    }
}
