package io.dragoman.publish;

import io.dragoman.config.TopicNames;
import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.LinkChoice;
import io.dragoman.infer.Outcome.Translated;
import io.dragoman.infer.WordLinks;
import io.dragoman.ingest.Origin;
import io.dragoman.ingest.Refusal;
import io.dragoman.ingest.SourceText;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Extent;
import io.dragoman.schema.Header;
import io.dragoman.schema.Link;
import io.dragoman.schema.Model;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.RejectionReason;
import io.dragoman.schema.Stage;
import io.dragoman.schema.Translation;
import io.dragoman.schema.WeightEncoding;
import io.dragoman.tokenize.Segmentation.Pieces;
import io.dragoman.tokenize.SubwordTokenizer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.avro.Schema;
import org.apache.kafka.common.header.Headers;
import org.jspecify.annotations.Nullable;

/** Results to the values of the output topics. Threading: safe for many threads. */
public final class OutputRecords {
    /**
     * Most bytes of key and headers of a sentence that is translated; with more, records could outgrow their topics. The
     * same for a record of {@code rejections}: with more, they are in its value alone.
     */
    public static final int MAX_LUGGAGE_BYTES = 100_000;

    /** The quality signal that a translation has when, and only when, there is an alignment to it. */
    public static final String ATTENTION_ENTROPY = "attention_entropy";

    /** What a topic takes unless it is told otherwise, less {@link #MAX_LUGGAGE_BYTES}. */
    private static final int LARGEST_VALUE_BYTES = 900_000;

    /** With more than this, which is close to what a topic takes, a rejection leaves key and headers out. */
    private static final int MAX_COPIED_LUGGAGE_BYTES = 800_000;

    private final Settings settings;

    /**
     * @param translationsTopic and the two others: what the encoder may register schemas for
     * @param encoding how weights are written while they fit
     * @param maxAlignmentBytes largest alignment value
     * @param maxRejectedBytes largest original value repeated in a rejection
     * @param nBest translations in a record, the best one counted
     */
    public record Settings(
            RecordEncoder encoder,
            String translationsTopic,
            String alignmentsTopic,
            String rejectionsTopic,
            String encoding,
            int maxAlignmentBytes,
            int maxRejectedBytes,
            int nBest) {}

    public OutputRecords(Settings settings) {
        this.settings = settings;
    }

    /** What each output topic holds. */
    public static Map<String, Schema> schemas(TopicNames topics) {
        return Map.of(
                topics.translations(), Translation.getClassSchema(),
                topics.alignments(), Alignment.getClassSchema(),
                topics.rejections(), Rejection.getClassSchema());
    }

    /** @param alignment empty for architectures without attention */
    @SuppressWarnings("ArrayRecordComponent") // handed from one method to one sink, never kept
    public record Values(byte[] translation, Optional<byte[]> alignment) {}

    /**
     * @param pieces of the text
     * @param results one for each piece
     * @param tokenizer the target language's
     */
    public Values values(
            SourceText text,
            Pieces pieces,
            List<Translated> results,
            BundleManifest manifest,
            SubwordTokenizer tokenizer,
            Origin origin) {
        Stitched whole = new Stitched(
                text.text(), pieces, results, tokenizer, text.languages().target());
        byte[] translation = settings.encoder()
                .encode(settings.translationsTopic(), translation(text, pieces, whole, manifest, tokenizer, origin));
        Optional<byte[]> alignment = whole.blocks().map(blocks -> alignment(text, whole, blocks, manifest, origin));
        return new Values(translation, alignment);
    }

    /** Why records made of a text cannot be published, for a person; empty when they can. */
    public Optional<String> tooLarge(Values values) {
        int largest = Math.max(
                values.translation().length,
                values.alignment().map(value -> value.length).orElse(0));
        int limit = Math.max(LARGEST_VALUE_BYTES, settings.maxAlignmentBytes());
        return largest <= limit
                ? Optional.empty()
                : Optional.of("the records of a text should have at most " + limit + " bytes each: one would have "
                        + largest);
    }

    private Translation translation(
            SourceText text,
            Pieces pieces,
            Stitched whole,
            BundleManifest manifest,
            SubwordTokenizer tokenizer,
            Origin origin) {
        return Translation.newBuilder()
                .setId(text.id())
                .setSourceText(text.text())
                .setTranslation(whole.translation())
                .setSourceLanguage(text.languages().source())
                .setTargetLanguage(text.languages().target())
                .setModel(model(manifest))
                .setScore(whole.score())
                .setTokenLogProbs(whole.logProbs())
                .setNBest(whole.further(settings.nBest() - 1, tokenizer))
                .setSegments(whole.segments())
                .setTruncated(whole.truncated())
                .setQualitySignals(signals(whole))
                .setAttributes(text.attributes())
                .setOrigin(origin(origin))
                .setTimings(whole.timings())
                .setExtent(Extent.valueOf(pieces.extent().name()))
                .build();
    }

    private static Map<String, Double> signals(Stitched whole) {
        Map<String, Double> signals = new TreeMap<>();
        signals.put("length_ratio", whole.targetLength() / (double) whole.sourceLength());
        whole.blocks().ifPresent(blocks -> signals.put(ATTENTION_ENTROPY, Stitched.normalizedEntropy(blocks)));
        return signals;
    }

    /** The configured encoding, or the first smaller one with which the record fits; the last resort has no weights. */
    private byte[] alignment(
            SourceText text, Stitched whole, List<AlignmentMatrix> blocks, BundleManifest manifest, Origin origin) {
        LinkChoice choice = manifest.attention().links();
        Alignment.Builder builder = Alignment.newBuilder()
                .setId(text.id())
                .setSourceLanguage(text.languages().source())
                .setTargetLanguage(text.languages().target())
                .setModel(model(manifest))
                .setSourceTokens(whole.sourceTokens())
                .setTargetTokens(whole.targetTokens())
                .setTokenLinks(links(whole.tokenLinks(blocks, choice)))
                .setWordLinks(links(whole.wordLinks(blocks, choice)))
                .setAttentionLayer(manifest.attention().layer())
                .setAttentionHeads(manifest.attention().heads())
                .setAttentionShift(manifest.attention().shift())
                .setOrigin(origin(origin))
                .setSegments(whole.tokenSegments());
        byte[] value = {};
        for (WeightEncoding encoding : encodings(blocks.size() > 1)) {
            if (encoding != WeightEncoding.NONE
                    && EncodedWeights.size(blocks, encoding) > settings.maxAlignmentBytes()) {
                continue; // hopeless, and too much memory for a long text
            }
            EncodedWeights weights = EncodedWeights.of(blocks, encoding);
            value = settings.encoder()
                    .encode(
                            settings.alignmentsTopic(),
                            builder.setEncoding(encoding)
                                    .setEncodingError(weights.error())
                                    .setWeights(weights.bytes())
                                    .build());
            if (value.length <= settings.maxAlignmentBytes()) {
                break;
            }
        }
        return value;
    }

    /** Zeros outside the blocks go before accuracy does. */
    private List<WeightEncoding> encodings(boolean several) {
        WeightEncoding first = WeightEncoding.valueOf(settings.encoding().toUpperCase(Locale.ROOT));
        List<WeightEncoding> all = several
                ? List.of(
                        WeightEncoding.FLOAT32_BLOCKS,
                        WeightEncoding.FLOAT16_BLOCKS,
                        WeightEncoding.UINT8_BLOCKS,
                        WeightEncoding.NONE)
                : List.of(WeightEncoding.FLOAT32, WeightEncoding.FLOAT16, WeightEncoding.UINT8, WeightEncoding.NONE);
        List<WeightEncoding> tried = new ArrayList<>(several ? List.of(first) : List.of());
        tried.addAll(all.subList(List.of("float32", "float16", "uint8").indexOf(settings.encoding()), all.size()));
        return tried;
    }

    private static List<Link> links(List<WordLinks.Link> links) {
        List<Link> records = new ArrayList<>(links.size());
        for (WordLinks.Link link : links) {
            records.add(new Link(link.source(), link.target()));
        }
        return records;
    }

    private static Model model(BundleManifest manifest) {
        return new Model(manifest.name(), manifest.version(), manifest.modelSha256());
    }

    private static io.dragoman.schema.Origin origin(Origin origin) {
        return new io.dragoman.schema.Origin(origin.topic(), origin.partition(), origin.offset(), origin.timestamp());
    }

    /** The value of a rejection: everything needed to see why, and to send the record again. */
    public byte[] rejection(
            Refusal refusal, Origin origin, byte @Nullable [] key, byte @Nullable [] value, Headers headers) {
        int luggage = luggageBytes(key, headers);
        List<Header> copied = new ArrayList<>();
        for (org.apache.kafka.common.header.Header header : headers) {
            copied.add(new Header(header.key(), wrap(header.value())));
        }
        int size = value == null ? 0 : value.length;
        boolean keepValue = size <= settings.maxRejectedBytes() && (long) luggage + size <= MAX_COPIED_LUGGAGE_BYTES;
        boolean carried = luggage <= MAX_COPIED_LUGGAGE_BYTES;
        Rejection rejection = Rejection.newBuilder()
                .setId(refusal.id())
                .setReason(RejectionReason.valueOf(refusal.reason().name()))
                .setExplanation(refusal.explanation())
                .setStage(Stage.valueOf(refusal.stage().name()))
                .setKey(carried ? wrap(key) : null)
                .setValue(keepValue ? wrap(value) : null)
                .setValueBytes(size)
                .setHeaders(carried ? copied : List.of())
                .setOrigin(origin(origin))
                .build();
        return settings.encoder().encode(settings.rejectionsTopic(), rejection);
    }

    /** Bytes that every record made from an input record carries beside its value. */
    public static int luggageBytes(byte @Nullable [] key, Headers headers) {
        int bytes = key == null ? 0 : key.length;
        for (org.apache.kafka.common.header.Header header : headers) {
            bytes += header.key().length() + (header.value() == null ? 0 : header.value().length);
        }
        return bytes;
    }

    private static @Nullable ByteBuffer wrap(byte @Nullable [] bytes) {
        return bytes == null ? null : ByteBuffer.wrap(bytes);
    }
}
