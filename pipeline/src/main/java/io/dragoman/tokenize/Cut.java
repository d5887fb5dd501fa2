package io.dragoman.tokenize;

/** What a piece of a text ends at, from the best place for an end to the worst. */
public enum Cut {
    /** The text's own end. */
    TEXT,
    SENTENCE,
    /** A punctuation mark or a dash inside a sentence. */
    CLAUSE,
    /** White space, or a place between two words of a script that writes none. */
    WORD,
    /** Nothing but the end of a character and the marks that belong to it. */
    CHARACTER
}
