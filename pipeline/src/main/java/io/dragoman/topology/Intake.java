package io.dragoman.topology;

import io.dragoman.config.LanguagePair;
import io.dragoman.config.Priority;
import io.dragoman.infer.Outcome;
import io.dragoman.ingest.Ingested;
import io.dragoman.ingest.Origin;
import io.dragoman.ingest.Refusal;
import io.dragoman.ingest.Refusal.Reason;
import io.dragoman.ingest.Refusal.Stage;
import io.dragoman.ingest.SourceText;
import io.dragoman.ingest.SourceTextReader;
import io.dragoman.tokenize.Piece;
import io.dragoman.tokenize.Segmentation;
import io.dragoman.tokenize.Segmentation.Pieces;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.common.header.Headers;
import org.jspecify.annotations.Nullable;

/** A record read, cut into pieces, tokenized and handed to its model: the way in that the look-ahead and the processor share. */
final class Intake {
    private final SourceTextReader reader;
    private final Map<LanguagePair, Route> routes;

    Intake(SourceTextReader reader, Map<LanguagePair, Route> routes) {
        this.reader = reader;
        this.routes = Map.copyOf(routes);
    }

    /** What is known of a record at once: it is refused, or it is on its way. */
    sealed interface Taken {
        /** Whether what becomes of it can be told without waiting. */
        boolean isKnown();

        record Refused(Refusal refusal) implements Taken {
            @Override
            public boolean isKnown() {
                return true;
            }
        }

        /**
         * @param outcomes one for each piece
         * @param submitted when they went into the queue, by {@link System#nanoTime}
         * @param turn since when it is waited for
         */
        record UnderWay(
                SourceText text,
                Pieces pieces,
                Route route,
                List<CompletableFuture<Outcome>> outcomes,
                long submitted,
                Turn turn)
                implements Taken {
            @Override
            public boolean isKnown() {
                return outcomes.stream().allMatch(CompletableFuture::isDone);
            }

            /** Its turn has come, and somebody waits for it: for so long since that was first so. */
            Duration awaited() {
                return turn.awaited();
            }

            /** What of it waits for a batch goes with the next ones. */
            void hurry() {
                if (turn.hurry()) {
                    route.service().hurry(outcomes);
                }
            }
        }
    }

    /** Since when a record is waited for. Threading: of the stream thread that has the partition. */
    static final class Turn {
        private volatile @Nullable Long since;
        private volatile boolean hurried;

        private Duration awaited() {
            long now = System.nanoTime();
            Long begun = since;
            if (begun == null) {
                since = now;
                return Duration.ZERO;
            }
            return Duration.ofNanos(now - begun);
        }

        /** False when it was before. */
        private boolean hurry() {
            boolean first = !hurried;
            hurried = true;
            return first;
        }
    }

    /** Has {@code listener} called whenever more is known. */
    void whenKnown(Runnable listener) {
        routes.values().forEach(route -> route.service().whenBatchEnds(listener));
    }

    /** Whether more was taken than can be worked on soon. */
    boolean isBusy() {
        return routes.values().stream().anyMatch(route -> route.service().isBusy());
    }

    /** Both steps. */
    Taken take(Origin origin, Headers headers, byte[] value) {
        return submit(read(origin, headers, value), Priority.LOW);
    }

    /** The first step: decoded and checked. */
    Ingested read(Origin origin, Headers headers, byte[] value) {
        return reader.read(origin, headers, value);
    }

    /** The second step: cut into pieces, tokenized, and in the model's queue with its own priority or a higher one. */
    Taken submit(Ingested ingested, Priority atLeast) {
        if (ingested instanceof Ingested.Refused refused) {
            return new Taken.Refused(refused.refusal());
        }
        SourceText text = ((Ingested.Accepted) ingested).text();
        Route route = routes.get(text.languages());
        if (route == null) {
            throw new IllegalStateException("the reader let a pair pass that has no model: " + text.languages());
        }
        Segmentation segmentation;
        try {
            segmentation = route.segmenter().segment(text.text());
        } catch (RuntimeException e) {
            return refused(text, Reason.UNDECODABLE, "the text cannot be tokenized: " + e.getMessage());
        }
        if (segmentation instanceof Segmentation.TooLong tooLong) {
            return refused(text, Reason.TOO_LONG, tooLong.explanation());
        }
        if (segmentation instanceof Segmentation.Pieces pieces) {
            return new Taken.UnderWay(
                    text,
                    pieces,
                    route,
                    route.service()
                            .submit(
                                    pieces.list().stream().map(Piece::tokens).toList(),
                                    text.priority().or(atLeast)),
                    System.nanoTime(),
                    new Turn());
        }
        return refused(
                text,
                Reason.CONTROL_CHARACTERS_ONLY,
                "nothing is left of the text once invisible characters are removed");
    }

    private static Taken refused(SourceText text, Reason reason, String explanation) {
        return new Taken.Refused(new Refusal(text.id(), reason, Stage.TOKENIZE, explanation));
    }
}
