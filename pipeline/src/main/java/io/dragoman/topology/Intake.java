package io.dragoman.topology;

import io.dragoman.config.LanguagePair;
import io.dragoman.infer.Outcome;
import io.dragoman.ingest.Ingested;
import io.dragoman.ingest.Origin;
import io.dragoman.ingest.Refusal;
import io.dragoman.ingest.Refusal.Reason;
import io.dragoman.ingest.Refusal.Stage;
import io.dragoman.ingest.SourceText;
import io.dragoman.ingest.SourceTextReader;
import io.dragoman.tokenize.TokenizedText;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.common.header.Headers;

/** A record read, tokenized and handed to its model: the way in that the look-ahead and the processor share. */
final class Intake {
    private final SourceTextReader reader;
    private final Map<LanguagePair, Route> routes;

    Intake(SourceTextReader reader, Map<LanguagePair, Route> routes) {
        this.reader = reader;
        this.routes = Map.copyOf(routes);
    }

    /** What is known of a record at once: it is refused, or it is on its way. */
    sealed interface Taken {
        record Refused(Refusal refusal) implements Taken {}

        record UnderWay(SourceText text, TokenizedText source, Route route, CompletableFuture<Outcome> outcome)
                implements Taken {}
    }

    Taken take(Origin origin, Headers headers, byte[] value) {
        Ingested ingested = reader.read(origin, headers, value);
        if (ingested instanceof Ingested.Refused refused) {
            return new Taken.Refused(refused.refusal());
        }
        SourceText text = ((Ingested.Accepted) ingested).text();
        Route route = routes.get(text.languages());
        if (route == null) {
            throw new IllegalStateException("the reader let a pair pass that has no model: " + text.languages());
        }
        TokenizedText source;
        try {
            source = route.tokenizers().source().tokenize(text.text());
        } catch (RuntimeException e) {
            return refused(text, Reason.UNDECODABLE, "the text cannot be tokenized: " + e.getMessage());
        }
        if (source.length() < 2) {
            return refused(
                    text,
                    Reason.CONTROL_CHARACTERS_ONLY,
                    "nothing is left of the text once invisible characters are removed");
        }
        int longest = route.manifest().limits().maxSourceTokens();
        if (source.length() > longest) {
            return refused(
                    text,
                    Reason.TOO_LONG,
                    "a text should have at most " + longest + " subword tokens for the model "
                            + route.manifest().name() + ": has " + source.length() + "; split it into sentences");
        }
        return new Taken.UnderWay(text, source, route, route.service().submit(source));
    }

    private static Taken refused(SourceText text, Reason reason, String explanation) {
        return new Taken.Refused(new Refusal(text.id(), reason, Stage.TOKENIZE, explanation));
    }
}
