package io.dragoman.tokenize;

/** What becomes of a text that is longer than the model takes; the names are values of the setting. */
public enum LengthPolicy {
    /** It is not translated. */
    REJECT,
    /** Its beginning is translated. */
    TRUNCATE,
    /** It is translated sentence by sentence. */
    SPLIT,
    /** As {@link #SPLIT}, and so is a text of several sentences that the model would take whole. */
    SENTENCES
}
