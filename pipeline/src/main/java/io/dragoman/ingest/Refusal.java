package io.dragoman.ingest;

/**
 * Why a record is not translated.
 *
 * @param id the producer's id when it could be read, otherwise the origin
 * @param explanation for a person; never holds the text
 */
public record Refusal(String id, Reason reason, Stage stage, String explanation) {
    /** Codes of the Avro record; their names are part of the contract. */
    public enum Reason {
        EMPTY,
        UNDECODABLE,
        TOO_LONG,
        UNKNOWN_LANGUAGE_PAIR,
        CONTROL_CHARACTERS_ONLY,
        MODEL_FAILURE
    }

    /** Where it happened. */
    public enum Stage {
        INGEST,
        TOKENIZE,
        INFER,
        PUBLISH
    }
}
