package io.dragoman.ingest;

/** Where an input record stands; {@code timestamp} is in milliseconds since the epoch. */
public record Origin(String topic, int partition, long offset, long timestamp) {
    /** The id of a sentence whose producer gave none. */
    public String id() {
        return topic + "-" + partition + "-" + offset;
    }
}
