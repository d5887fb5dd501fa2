package io.dragoman.ingest;

/** A record read: a text to translate, or why not. */
public sealed interface Ingested {
    record Accepted(SourceText text) implements Ingested {}

    record Refused(Refusal refusal) implements Ingested {}
}
