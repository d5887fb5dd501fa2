package io.dragoman.topology;

import io.dragoman.infer.ModelException;
import io.dragoman.infer.Outcome;
import io.dragoman.ingest.Origin;
import io.dragoman.ingest.Refusal;
import io.dragoman.ingest.Refusal.Reason;
import io.dragoman.ingest.Refusal.Stage;
import io.dragoman.metrics.Meters;
import io.dragoman.metrics.Metric;
import io.dragoman.publish.OutputRecords;
import io.dragoman.tokenize.Piece;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Forwards what is made from a record's result, with the record's key, timestamp and headers. The result is known when a record
 * comes from a {@link ReadyPoll}; otherwise it is waited for.
 *
 * <p>A failure that is not the sentence's own fault (the model is broken, no result in time) is thrown: the instance
 * stops with its offsets uncommitted, and nothing is lost.
 */
final class TranslateProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    private static final Logger LOG = LoggerFactory.getLogger(TranslateProcessor.class);

    private final LookAhead lookAhead;
    private final OutputRecords output;
    private final Duration timeout;
    private final SamePartition partitioner;
    private final boolean commitWhenDrained;
    private final Meters meters;
    private final Timer queued;
    private final Timer inferred;
    private final Timer turned;
    private final Timer admitted;
    private final Timer endToEnd;
    private final Counter published;
    private @Nullable ProcessorContext<byte[], byte[]> context;

    /** @param commitWhenDrained ask for a commit whenever {@link LookAhead#isDrained} */
    TranslateProcessor(
            LookAhead lookAhead,
            OutputRecords output,
            Duration timeout,
            SamePartition partitioner,
            boolean commitWhenDrained,
            Meters meters) {
        this.meters = meters;
        this.queued = meters.timer(Metric.STAGE, "queue");
        this.inferred = meters.timer(Metric.STAGE, "inference");
        this.turned = meters.timer(Metric.STAGE, "turn");
        this.admitted = meters.timer(Metric.ADMITTED);
        this.endToEnd = meters.timer(Metric.END_TO_END);
        this.published = meters.counter(Metric.PUBLISHED);
        this.lookAhead = lookAhead;
        this.output = output;
        this.timeout = timeout;
        this.partitioner = partitioner;
        this.commitWhenDrained = commitWhenDrained;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        publish(record);
        if (commitWhenDrained && lookAhead.isDrained()) {
            context().commit();
        }
    }

    private void publish(Record<byte[], byte[]> record) {
        ProcessorContext<byte[], byte[]> here = context();
        Origin origin = origin(here, record);
        partitioner.set(origin.partition());
        byte @Nullable [] value = record.value();
        if (value == null) { // a tombstone stays one
            here.forward(record, TranslationTopology.TRANSLATIONS);
            here.forward(record, TranslationTopology.ALIGNMENTS);
            return;
        }
        Intake.Taken taken = lookAhead.take(origin, record.headers(), value);
        int luggage = OutputRecords.luggageBytes(record.key(), record.headers());
        if (luggage > OutputRecords.MAX_LUGGAGE_BYTES) {
            String explanation = "key and headers should have at most " + OutputRecords.MAX_LUGGAGE_BYTES
                    + " bytes together: have " + luggage;
            reject(record, origin, new Refusal(origin.id(), Reason.TOO_LONG, Stage.INGEST, explanation));
            return;
        }
        if (taken instanceof Intake.Taken.Refused refused) {
            reject(record, origin, refused.refusal());
            return;
        }
        Intake.Taken.UnderWay underWay = (Intake.Taken.UnderWay) taken;
        List<CompletableFuture<Outcome>> outcomes = underWay.outcomes();
        Route route = underWay.route();
        List<Outcome.Translated> results = new ArrayList<>(outcomes.size());
        Patience patience = new Patience(outcomes, underWay.awaited());
        underWay.hurry();
        for (int i = 0; i < outcomes.size(); i++) {
            Outcome outcome;
            try {
                outcome = patience.await(outcomes.get(i));
            } catch (TimeoutException e) {
                rejectUnfinished(record, origin, underWay, Reason.TOO_LONG, String.valueOf(e.getMessage()));
                return;
            }
            if (outcome instanceof Outcome.Failed failed) {
                rejectUnfinished(
                        record, origin, underWay, Reason.MODEL_FAILURE, pieceName(underWay, i) + failed.explanation());
                return;
            }
            results.add((Outcome.Translated) outcome);
        }
        Duration known = Duration.ofNanos(System.nanoTime() - underWay.submitted());
        OutputRecords.Values values = output.values(
                underWay.text(),
                underWay.pieces(),
                results,
                route.manifest(),
                route.tokenizers().target(),
                origin);
        Optional<String> tooLarge = output.tooLarge(values);
        if (tooLarge.isPresent()) {
            reject(record, origin, new Refusal(underWay.text().id(), Reason.TOO_LONG, Stage.PUBLISH, tooLarge.get()));
            return;
        }
        here.forward(record.withValue(values.translation()), TranslationTopology.TRANSLATIONS);
        values.alignment()
                .ifPresent(alignment -> here.forward(record.withValue(alignment), TranslationTopology.ALIGNMENTS));
        measure(results, known, Duration.ofMillis(here.currentSystemTimeMs() - record.timestamp()));
    }

    /** Of a text in pieces the one that took longest counts. */
    private void measure(List<Outcome.Translated> results, Duration known, Duration age) {
        Outcome.Translated last = Collections.max(
                results, Comparator.comparing(result -> result.queued().plus(result.inference())));
        Duration worked = last.queued().plus(last.inference());
        queued.record(last.queued());
        inferred.record(last.inference());
        turned.record(known.compareTo(worked) > 0 ? known.minus(worked) : Duration.ZERO);
        admitted.record(known);
        endToEnd.record(age.isNegative() ? Duration.ZERO : age);
        published.increment();
    }

    /** Nothing for a text that is one piece. */
    private static String pieceName(Intake.Taken.UnderWay underWay, int index) {
        List<Piece> pieces = underWay.pieces().list();
        Piece piece = pieces.get(index);
        return pieces.size() == 1
                ? ""
                : "piece " + (index + 1) + " of " + pieces.size() + ", characters " + piece.start() + " to "
                        + piece.end() + ": ";
    }

    /** Pieces that still wait for the model are not worked for any more. */
    private void rejectUnfinished(
            Record<byte[], byte[]> record,
            Origin origin,
            Intake.Taken.UnderWay underWay,
            Reason reason,
            String explanation) {
        underWay.outcomes().forEach(outcome -> outcome.cancel(false));
        reject(record, origin, new Refusal(underWay.text().id(), reason, Stage.INFER, explanation));
    }

    private static Origin origin(ProcessorContext<byte[], byte[]> context, Record<byte[], byte[]> record) {
        RecordMetadata metadata =
                context.recordMetadata().orElseThrow(() -> new IllegalStateException("a record without an origin"));
        return new Origin(metadata.topic(), metadata.partition(), metadata.offset(), record.timestamp());
    }

    /** Waits for all pieces of a text together for as long as for one that is alone. */
    private final class Patience {
        private final List<CompletableFuture<Outcome>> outcomes;
        private final long end;

        Patience(List<CompletableFuture<Outcome>> outcomes, Duration awaited) {
            this.outcomes = outcomes;
            this.end = System.nanoTime() + timeout.minus(awaited).toNanos();
        }

        /** @throws TimeoutException when some pieces are done: the model works, the text has more than it gets through */
        Outcome await(CompletableFuture<Outcome> outcome) throws TimeoutException {
            try {
                return outcome.get(Math.max(0, end - System.nanoTime()), TimeUnit.NANOSECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new ModelException("interrupted while waiting for the model", e);
            } catch (TimeoutException e) {
                long done = outcomes.stream().filter(CompletableFuture::isDone).count();
                if (done > 0) {
                    throw new TimeoutException("the " + outcomes.size() + " pieces of a text should be translated"
                            + " within " + timeout.toMillis() + " ms (model.timeout.ms): " + done + " were; lower"
                            + " text.max.tokens or shorten the text");
                }
                throw new ModelException(
                        "the model gave no result within " + timeout.toMillis() + " ms (model.timeout.ms)", e);
            } catch (ExecutionException e) {
                Throwable cause = e.getCause() == null ? e : e.getCause();
                throw new ModelException(String.valueOf(cause.getMessage()), cause);
            }
        }
    }

    private void reject(Record<byte[], byte[]> record, Origin origin, Refusal refusal) {
        LOG.warn(
                "rejected topic={} partition={} offset={} reason={}",
                origin.topic(),
                origin.partition(),
                origin.offset(),
                refusal.reason());
        meters.counter(
                        Metric.REJECTED,
                        refusal.reason().toString(),
                        refusal.stage().toString())
                .increment();
        byte[] value = output.rejection(refusal, origin, record.key(), record.value(), record.headers());
        boolean carried = OutputRecords.luggageBytes(record.key(), record.headers()) <= OutputRecords.MAX_LUGGAGE_BYTES;
        context()
                .forward(
                        carried ? record.withValue(value) : new Record<>(null, value, record.timestamp()),
                        TranslationTopology.REJECTIONS);
    }

    private ProcessorContext<byte[], byte[]> context() {
        if (context == null) {
            throw new IllegalStateException("init comes first");
        }
        return context;
    }

    @Override
    public void close() {
        if (context != null) {
            lookAhead.forget(context.taskId().partition());
        }
    }
}
