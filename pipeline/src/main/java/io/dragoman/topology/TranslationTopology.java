package io.dragoman.topology;

import io.dragoman.config.TopicNames;
import io.dragoman.metrics.Meters;
import io.dragoman.publish.OutputRecords;
import java.time.Duration;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.Stores;

/**
 * The whole flow.
 *
 * <pre>
 *   sentences --poll--> look-ahead: ingest, tokenize, batch, infer      (any thread's batch, any partition)
 *       |                    |
 *       v                    v result
 *   held back --known--> translate: publish                             (in order, one record at a time)
 *                            |--> translations
 *                            |--> alignments
 *                            '--> rejections
 * </pre>
 */
final class TranslationTopology {
    static final String SENTENCES = "sentences";
    static final String TRANSLATE = "translate";
    static final String TRANSLATIONS = "translations";
    static final String ALIGNMENTS = "alignments";
    static final String REJECTIONS = "rejections";
    /**
     * An empty store on disk. A task with one keeps its folder and with it the instance's process id, so that after
     * {@code kill -9} the restarted instance takes over its own open transaction in place of waiting for it to time out.
     */
    static final String ANCHOR = "anchor";

    private TranslationTopology() {}

    static Topology build(
            TopicNames topics,
            LookAhead lookAhead,
            OutputRecords output,
            Duration timeout,
            boolean commitWhenDrained,
            Meters meters) {
        ByteArraySerializer bytes = new ByteArraySerializer();
        SamePartition partitioner = new SamePartition();
        return new Topology()
                .addSource(SENTENCES, new ByteArrayDeserializer(), new ByteArrayDeserializer(), topics.sentences())
                .addProcessor(
                        TRANSLATE,
                        () -> new TranslateProcessor(
                                lookAhead, output, timeout, partitioner, commitWhenDrained, meters),
                        SENTENCES)
                .addStateStore(
                        Stores.keyValueStoreBuilder(
                                        Stores.persistentKeyValueStore(ANCHOR), Serdes.ByteArray(), Serdes.ByteArray())
                                .withLoggingDisabled()
                                .withCachingDisabled(),
                        TRANSLATE)
                .addSink(TRANSLATIONS, topics.translations(), bytes, bytes, partitioner, TRANSLATE)
                .addSink(ALIGNMENTS, topics.alignments(), bytes, bytes, partitioner, TRANSLATE)
                .addSink(REJECTIONS, topics.rejections(), bytes, bytes, partitioner, TRANSLATE);
    }
}
