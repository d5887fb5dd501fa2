package io.dragoman.config;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * How much a text's producer is in a hurry. A class is no rank for ever: a text goes before those of the next lower class
 * that arrived up to {@code priority.allowance.ms} before it, and never before an earlier one of its own partition.
 */
public enum Priority {
    HIGH(0),
    NORMAL(1),
    LOW(2);

    private final int classesBelowHighest;

    Priority(int classesBelowHighest) {
        this.classesBelowHighest = classesBelowHighest;
    }

    public int classesBelowHighest() {
        return classesBelowHighest;
    }

    /** The class of that name, in any case; {@link #NORMAL} for no name and for any other, as strangers write it. */
    public static Priority named(@Nullable String name) {
        if (name != null) {
            for (Priority priority : values()) {
                if (priority.name().equalsIgnoreCase(name.strip())) {
                    return priority;
                }
            }
        }
        return NORMAL;
    }

    /** The more urgent of the two. */
    public Priority or(Priority other) {
        return compareTo(other) <= 0 ? this : other;
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
