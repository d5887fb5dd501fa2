package io.dragoman.infer;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import io.dragoman.tokenize.SubwordTokenizer.SpecialIds;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What {@code bundle.json} says. Fields this version does not use are left unread. */
@JsonIgnoreProperties(ignoreUnknown = true)
public record BundleManifest(
        @JsonProperty(value = "format_version", required = true) int formatVersion,
        @JsonProperty(value = "name", required = true) String name,
        @JsonProperty(value = "version", required = true) String version,
        @JsonProperty(value = "architecture", required = true) String architecture,
        @JsonProperty("architecture_name") @Nullable String architectureName,
        @JsonProperty(value = "languages", required = true) Languages languages,
        @JsonProperty(value = "vocabulary", required = true) Vocabulary vocabulary,
        @JsonProperty(value = "special_ids", required = true) SpecialIds specialIds,
        @JsonProperty(value = "limits", required = true) Limits limits,
        @JsonProperty(value = "decoding", required = true) Decoding decoding,
        @JsonProperty(value = "attention", required = true) Attention attention,
        @JsonProperty(value = "files", required = true) Map<String, FileIdentity> files,
        @JsonProperty("model") @Nullable ModelSection model,
        @JsonProperty("scores") @Nullable Map<String, Score> scores) {

    public BundleManifest {
        files = files == null ? Map.of() : Map.copyOf(files);
        scores = scores == null ? Map.of() : Map.copyOf(scores);
    }

    /**
     * How the model is stored.
     *
     * @param weights {@code int8} where it is computed with in 8 bits as well, which only CPUs do; {@code half} where the
     *     graph computes in 16 bits, for GPUs
     */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record ModelSection(@JsonProperty("weights") @Nullable String weights) {}

    /** Whether the graph's products are of 8-bit numbers. */
    public boolean eightBits() {
        return model != null && "int8".equals(model.weights());
    }

    /** Whether the graph computes in float16. */
    public boolean half() {
        return model != null && "half".equals(model.weights());
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Languages(
            @JsonProperty(value = "source", required = true) String source,
            @JsonProperty(value = "target", required = true) String target) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Vocabulary(
            @JsonProperty(value = "source_size", required = true) int sourceSize,
            @JsonProperty(value = "target_size", required = true) int targetSize,
            @JsonProperty(value = "sha256", required = true) String sha256) {}

    /**
     * Lengths in tokens, the end of sentence included. A sentence of n source tokens stops after
     * {@code min(maxTargetTokens, targetRatio * n + targetOffset)} steps; a ratio of 0 gives all sentences the same.
     */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Limits(
            @JsonProperty(value = "max_source_tokens", required = true) int maxSourceTokens,
            @JsonProperty(value = "max_target_tokens", required = true) int maxTargetTokens,
            @JsonProperty(value = "target_ratio", required = true) int targetRatio,
            @JsonProperty(value = "target_offset", required = true) int targetOffset) {
        /** Steps a sentence may take; forced positions always may. */
        int steps(int sourceTokens, int maxTargetTokens, int forced) {
            return Math.max(forced, Math.min(maxTargetTokens, targetRatio * sourceTokens + targetOffset));
        }
    }

    /**
     * The search that the graph was made for.
     *
     * @param beamThreshold how far a hypothesis's log-probability may fall below the best one's before it is given up; 0
     *     gives none up
     */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Decoding(
            @JsonProperty(value = "beam_size", required = true) int beamSize,
            @JsonProperty(value = "length_penalty", required = true) double lengthPenalty,
            @JsonProperty("beam_threshold") double beamThreshold) {}

    /**
     * Where the published weights are read.
     *
     * @param published whether there are weights; without them there are no alignments
     * @param shift 0 where a token's row is of the step that chose it, 1 of the next step, which reads it; the graph's
     *     rows are shifted already
     */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Attention(
            @JsonProperty(value = "published", required = true) boolean published,
            @JsonProperty("layer") int layer,
            @JsonProperty("heads") @Nullable List<Integer> heads,
            @JsonProperty("shift") int shift,
            @JsonProperty("links") @Nullable LinkChoice links) {
        public Attention {
            heads = heads == null ? List.of() : List.copyOf(heads);
            links = links == null ? LinkChoice.DEFAULT : links;
        }

        /** Those whose mean is published, from 0; empty for an alignment head, or where there is only one. */
        @Override
        public List<Integer> heads() {
            return Objects.requireNonNull(heads);
        }

        /** How hard links are read off the weights; {@link LinkChoice#DEFAULT} when the bundle does not say. */
        @Override
        public LinkChoice links() {
            return Objects.requireNonNull(links);
        }
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    public record FileIdentity(
            @JsonProperty(value = "sha256", required = true) String sha256,
            @JsonProperty(value = "bytes", required = true) long bytes) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Score(
            @JsonProperty("bleu") double bleu,
            @JsonProperty("chrf") double chrf,
            @JsonProperty("sentences") int sentences,
            @JsonProperty("beam_size") int beamSize) {}

    /** The search the bundle was scored with. */
    public DecodingOptions defaultOptions() {
        return new DecodingOptions(decoding.beamSize(), 1, limits.maxTargetTokens(), decoding.lengthPenalty());
    }

    /** Whether the target language has a tokenizer of its own. */
    public boolean hasTargetTokenizer() {
        return files.containsKey(Bundle.TARGET_TOKENIZER);
    }

    /** SHA-256 of the graph, hexadecimal: what makes two models the same. */
    public String modelSha256() {
        FileIdentity model = files.get(Bundle.MODEL);
        return model == null ? "" : model.sha256();
    }
}
