package io.dragoman.topology;

import io.dragoman.infer.ModelException;
import io.dragoman.infer.Outcome;
import io.dragoman.ingest.Origin;
import io.dragoman.ingest.Refusal;
import io.dragoman.ingest.Refusal.Reason;
import io.dragoman.ingest.Refusal.Stage;
import io.dragoman.publish.OutputRecords;
import java.time.Duration;
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
 * Waits for a record's result and forwards what is made from it, with the record's key, timestamp and headers.
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
    private @Nullable ProcessorContext<byte[], byte[]> context;

    TranslateProcessor(LookAhead lookAhead, OutputRecords output, Duration timeout, SamePartition partitioner) {
        this.lookAhead = lookAhead;
        this.output = output;
        this.timeout = timeout;
        this.partitioner = partitioner;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
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
        underWay.route().service().hurry(underWay.outcome());
        Outcome outcome = await(underWay.outcome());
        if (outcome instanceof Outcome.Failed failed) {
            reject(
                    record,
                    origin,
                    new Refusal(underWay.text().id(), Reason.MODEL_FAILURE, Stage.INFER, failed.explanation()));
            return;
        }
        Route route = underWay.route();
        OutputRecords.Values values = output.values(
                underWay.text(),
                underWay.source(),
                (Outcome.Translated) outcome,
                route.manifest(),
                route.tokenizers().target(),
                origin);
        here.forward(record.withValue(values.translation()), TranslationTopology.TRANSLATIONS);
        values.alignment()
                .ifPresent(alignment -> here.forward(record.withValue(alignment), TranslationTopology.ALIGNMENTS));
    }

    private static Origin origin(ProcessorContext<byte[], byte[]> context, Record<byte[], byte[]> record) {
        RecordMetadata metadata =
                context.recordMetadata().orElseThrow(() -> new IllegalStateException("a record without an origin"));
        return new Origin(metadata.topic(), metadata.partition(), metadata.offset(), record.timestamp());
    }

    private Outcome await(CompletableFuture<Outcome> outcome) {
        try {
            return outcome.get(timeout.toMillis(), TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ModelException("interrupted while waiting for the model", e);
        } catch (TimeoutException e) {
            throw new ModelException(
                    "the model gave no result within " + timeout.toMillis() + " ms (model.timeout.ms)", e);
        } catch (ExecutionException e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            throw new ModelException(String.valueOf(cause.getMessage()), cause);
        }
    }

    private void reject(Record<byte[], byte[]> record, Origin origin, Refusal refusal) {
        LOG.warn(
                "rejected topic={} partition={} offset={} reason={}",
                origin.topic(),
                origin.partition(),
                origin.offset(),
                refusal.reason());
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
