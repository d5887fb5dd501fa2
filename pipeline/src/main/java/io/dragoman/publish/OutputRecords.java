package io.dragoman.publish;

import io.dragoman.config.TopicNames;
import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.Hypothesis;
import io.dragoman.infer.LinkChoice;
import io.dragoman.infer.Outcome.Translated;
import io.dragoman.infer.WordLinks;
import io.dragoman.ingest.Origin;
import io.dragoman.ingest.Refusal;
import io.dragoman.ingest.SourceText;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Header;
import io.dragoman.schema.Link;
import io.dragoman.schema.Model;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.RejectionReason;
import io.dragoman.schema.Segment;
import io.dragoman.schema.Stage;
import io.dragoman.schema.Timings;
import io.dragoman.schema.Token;
import io.dragoman.schema.Translation;
import io.dragoman.schema.WeightEncoding;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TokenSpan;
import io.dragoman.tokenize.TokenizedText;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
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

    /** @param tokenizer the target language's */
    public Values values(
            SourceText text,
            TokenizedText source,
            Translated result,
            BundleManifest manifest,
            SubwordTokenizer tokenizer,
            Origin origin) {
        TokenizedText target = tokenizer.detokenize(result.best().ids());
        byte[] translation = settings.encoder()
                .encode(
                        settings.translationsTopic(),
                        translation(text, source, target, result, manifest, tokenizer, origin));
        Optional<byte[]> alignment =
                result.best().attention().map(matrix -> alignment(text, source, target, matrix, manifest, origin));
        return new Values(translation, alignment);
    }

    private Translation translation(
            SourceText text,
            TokenizedText source,
            TokenizedText target,
            Translated result,
            BundleManifest manifest,
            SubwordTokenizer tokenizer,
            Origin origin) {
        Hypothesis best = result.best();
        List<Float> logProbs = new ArrayList<>(best.length());
        for (float logProb : best.logProbs()) {
            logProbs.add(logProb);
        }
        return Translation.newBuilder()
                .setId(text.id())
                .setSourceText(text.text())
                .setTranslation(target.text())
                .setSourceLanguage(text.languages().source())
                .setTargetLanguage(text.languages().target())
                .setModel(model(manifest))
                .setScore(best.score())
                .setTokenLogProbs(logProbs)
                .setNBest(nBest(result, tokenizer))
                .setSegments(List.of(
                        new Segment(0, text.text().length(), 0, target.text().length())))
                .setTruncated(best.truncated())
                .setQualitySignals(signals(source, best))
                .setAttributes(text.attributes())
                .setOrigin(origin(origin))
                .setTimings(new Timings(
                        result.queued().toNanos() / 1000, result.inference().toNanos() / 1000, result.batchSize()))
                .build();
    }

    private List<io.dragoman.schema.Hypothesis> nBest(Translated result, SubwordTokenizer tokenizer) {
        return result.hypotheses().stream()
                .skip(1) // the record's own
                .limit(settings.nBest() - 1)
                .map(h -> new io.dragoman.schema.Hypothesis(
                        tokenizer.detokenize(h.ids()).text(), h.score()))
                .toList();
    }

    private static Map<String, Double> signals(TokenizedText source, Hypothesis best) {
        Map<String, Double> signals = new TreeMap<>();
        signals.put("length_ratio", best.length() / (double) source.length());
        best.attention().ifPresent(matrix -> signals.put(ATTENTION_ENTROPY, matrix.normalizedEntropy()));
        return signals;
    }

    /** The configured encoding, or the first smaller one with which the record fits; the last resort has no weights. */
    private byte[] alignment(
            SourceText text,
            TokenizedText source,
            TokenizedText target,
            AlignmentMatrix matrix,
            BundleManifest manifest,
            Origin origin) {
        LinkChoice choice = manifest.attention().links();
        Alignment.Builder builder = Alignment.newBuilder()
                .setId(text.id())
                .setSourceLanguage(text.languages().source())
                .setTargetLanguage(text.languages().target())
                .setModel(model(manifest))
                .setSourceTokens(tokens(source))
                .setTargetTokens(tokens(target))
                .setTokenLinks(links(WordLinks.overTokens(source, target, matrix, choice)))
                .setWordLinks(links(WordLinks.overWords(source, target, matrix, choice)))
                .setAttentionLayer(manifest.attention().layer())
                .setAttentionHeads(manifest.attention().heads())
                .setAttentionShift(manifest.attention().shift())
                .setOrigin(origin(origin));
        byte[] value = {};
        for (WeightEncoding encoding : encodings()) {
            EncodedWeights weights = EncodedWeights.of(matrix, encoding);
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

    private List<WeightEncoding> encodings() {
        return switch (settings.encoding()) {
            case "float32" ->
                List.of(WeightEncoding.FLOAT32, WeightEncoding.FLOAT16, WeightEncoding.UINT8, WeightEncoding.NONE);
            case "float16" -> List.of(WeightEncoding.FLOAT16, WeightEncoding.UINT8, WeightEncoding.NONE);
            default -> List.of(WeightEncoding.UINT8, WeightEncoding.NONE);
        };
    }

    private static List<Token> tokens(TokenizedText text) {
        List<Token> tokens = new ArrayList<>(text.length());
        for (int i = 0; i < text.length(); i++) {
            TokenSpan span = text.tokens().get(i);
            tokens.add(new Token(span.piece(), span.start(), span.end(), text.ended() && i == text.length() - 1));
        }
        return tokens;
    }

    private static List<Link> links(List<WordLinks.Link> links) {
        return links.stream().map(l -> new Link(l.source(), l.target())).toList();
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
