package io.dragoman.ingest;

import io.dragoman.config.LanguagePair;
import io.dragoman.config.Priority;
import java.util.Map;

/** A text that may be translated. The name of the Avro record is the same: this is what it becomes once checked. */
public record SourceText(
        String id, String text, LanguagePair languages, Priority priority, Map<String, String> attributes) {
    public SourceText {
        attributes = Map.copyOf(attributes);
    }
}
