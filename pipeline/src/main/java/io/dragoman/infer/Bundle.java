package io.dragoman.infer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.SubwordTokenizer.SpecialIds;
import io.dragoman.tokenize.TokenizerPair;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * A model folder whose files were checked against its {@code bundle.json}.
 *
 * @param folder where it lies
 * @param manifest what it says of itself
 */
public record Bundle(Path folder, BundleManifest manifest) {
    public static final String MANIFEST = "bundle.json";
    public static final String MODEL = "model.onnx";
    public static final String TOKENIZER = "tokenizer.json";
    public static final String TARGET_TOKENIZER = "target_tokenizer.json";
    public static final String GOLDEN = "golden.tsv";
    public static final int FORMAT_VERSION = 1;

    /**
     * What was found in a folder.
     *
     * @param manifest null when it cannot be read
     * @param faults everything that is wrong, each beginning with the file or field at fault
     */
    record Findings(@Nullable BundleManifest manifest, List<String> faults) {
        Findings {
            faults = List.copyOf(faults);
        }
    }

    /**
     * Reads and checks a folder: the manifest, every file's size and hash, the vocabularies, the special ids and the golden
     * sentences. The graph itself is checked when it is opened.
     *
     * @throws BundleException with every fault found
     */
    public static Bundle open(Path folder) throws BundleException {
        Findings findings = check(folder);
        BundleManifest manifest = findings.manifest();
        if (manifest == null || !findings.faults().isEmpty()) {
            throw new BundleException(folder, findings.faults());
        }
        return new Bundle(folder, manifest);
    }

    /** The same for who wants to go on in spite of faults. */
    static Findings check(Path folder) {
        List<String> faults = new ArrayList<>();
        BundleManifest manifest;
        try {
            manifest = readManifest(folder, folder.resolve(MANIFEST));
        } catch (BundleException e) {
            return new Findings(null, e.faults());
        }
        for (String name : List.of(MODEL, TOKENIZER, GOLDEN)) {
            if (!manifest.files().containsKey(name)) {
                faults.add(name + " is not listed under files");
            }
        }
        if (!manifest.hasTargetTokenizer() && Files.exists(folder.resolve(TARGET_TOKENIZER))) {
            faults.add(TARGET_TOKENIZER + " is there and not listed under files");
        }
        new TreeMap<>(manifest.files()).forEach((name, identity) -> checkFile(folder, name, identity, faults));
        checkNumbers(manifest, faults);
        checkVocabularies(folder, manifest, faults);
        checkGolden(folder, faults);
        return new Findings(manifest, faults);
    }

    private static BundleManifest readManifest(Path folder, Path file) throws BundleException {
        if (!Files.isRegularFile(file)) {
            throw new BundleException(folder, List.of(MANIFEST + " is missing: is this a model folder?"));
        }
        try {
            ObjectMapper mapper = new ObjectMapper();
            JsonNode json = mapper.readTree(Files.readAllBytes(file));
            if (json == null || !json.isObject()) {
                throw new BundleException(folder, List.of(MANIFEST + " should be a JSON object"));
            }
            JsonNode version = json.get("format_version"); // first: another version may have other fields
            if (version == null || !version.isInt() || version.intValue() != FORMAT_VERSION) {
                throw new BundleException(
                        folder,
                        List.of("format_version should be " + FORMAT_VERSION + ": was " + version
                                + " (use a Dragoman that knows it, or export the model again)"));
            }
            dropNulls(json);
            return mapper.treeToValue(json, BundleManifest.class);
        } catch (JsonProcessingException e) {
            throw new BundleException(folder, List.of(MANIFEST + ": " + e.getOriginalMessage()));
        } catch (IOException e) {
            throw new BundleException(folder, List.of(MANIFEST + " cannot be read: " + e.getMessage()));
        }
    }

    /** A field that is null is one that is missing. */
    private static void dropNulls(JsonNode json) {
        if (json instanceof ObjectNode object) {
            object.properties().removeIf(field -> field.getValue().isNull());
        }
        json.forEach(Bundle::dropNulls);
    }

    private static void checkFile(Path folder, String name, BundleManifest.FileIdentity identity, List<String> faults) {
        if (name.matches("(?s).*[/\\\\\\p{Cntrl}].*|[.]{0,2}")) {
            faults.add(name + " should be a plain file name");
            return;
        }
        Path file = folder.resolve(name);
        try {
            if (!Files.isRegularFile(file)) {
                faults.add(name + " is missing");
            } else if (Files.size(file) != identity.bytes()) {
                faults.add(name + " should have " + identity.bytes() + " bytes: has " + Files.size(file)
                        + " (truncated or replaced?)");
            } else if (!sha256(file).equals(identity.sha256())) {
                faults.add(name + " is not the file the manifest was made for: its SHA-256 differs");
            }
        } catch (IOException e) {
            faults.add(name + " cannot be read: " + e.getMessage());
        }
    }

    private static void checkNumbers(BundleManifest manifest, List<String> faults) {
        BundleManifest.Limits limits = manifest.limits();
        if (limits.maxSourceTokens() < 2 || limits.maxTargetTokens() < 2) {
            faults.add("limits should allow at least 2 tokens on both sides: were " + limits);
        }
        if (limits.targetRatio() < 0
                || limits.targetOffset() < 0
                || limits.targetRatio() + limits.targetOffset() == 0) {
            faults.add("limits should have target_ratio and target_offset of at least 0, not both 0: were " + limits);
        }
        BundleManifest.Decoding decoding = manifest.decoding();
        if (decoding.beamSize() < 1 || !(decoding.lengthPenalty() >= 0) || !(decoding.beamThreshold() >= 0)) {
            faults.add("decoding should have a positive beam size and length penalty, and a beam threshold of at least"
                    + " 0: was " + decoding);
        }
    }

    private static void checkVocabularies(Path folder, BundleManifest manifest, List<String> faults) {
        SpecialIds special = manifest.specialIds();
        int sourceSize = manifest.vocabulary().sourceSize();
        int targetSize = manifest.vocabulary().targetSize();
        if (manifest.hasTargetTokenizer()) {
            checkTokenizer(folder.resolve(TARGET_TOKENIZER), special, targetSize, faults);
        } else if (targetSize != sourceSize) {
            faults.add("vocabulary.target_size should be source_size, " + sourceSize + ", without a " + TARGET_TOKENIZER
                    + ": was " + targetSize);
        }
        checkTokenizer(folder.resolve(TOKENIZER), special, sourceSize, faults);
        BundleManifest.FileIdentity listed = manifest.files().get(TOKENIZER);
        if (listed != null && !listed.sha256().equals(manifest.vocabulary().sha256())) {
            faults.add("vocabulary.sha256 is not that of " + TOKENIZER);
        }
        Map<String, Long> ids = Map.of(
                "pad", special.pad(), "start", special.start(), "end", special.end(), "unknown", special.unknown());
        new TreeMap<>(ids).forEach((name, id) -> {
            if (id < 0 || id >= Math.min(sourceSize, targetSize)) {
                faults.add("special_ids." + name + " should be in the vocabulary: was " + id);
            }
        });
        if (special.end() == special.unknown() || special.end() == special.pad()) {
            faults.add("special_ids.end should be an id of its own: were " + special);
        }
    }

    private static void checkTokenizer(Path file, SpecialIds special, int size, List<String> faults) {
        if (!Files.isRegularFile(file)) {
            return;
        }
        try (SubwordTokenizer tokenizer = SubwordTokenizer.load(file, special)) {
            if (tokenizer.vocabularySize() < size) {
                faults.add(file.getFileName() + " should have at least " + size + " entries: has "
                        + tokenizer.vocabularySize());
            }
            OptionalLong unknown = tokenizer.unknownId();
            if (unknown.isEmpty() || unknown.getAsLong() != special.unknown()) {
                faults.add(file.getFileName() + " should have special_ids.unknown, " + special.unknown()
                        + ", as its unknown token: has "
                        + (unknown.isEmpty() ? "none" : String.valueOf(unknown.getAsLong())));
            }
        } catch (IOException e) {
            faults.add(e.getMessage());
        }
    }

    private static void checkGolden(Path folder, List<String> faults) {
        Path file = folder.resolve(GOLDEN);
        if (Files.isRegularFile(file)) {
            try {
                GoldenFile.read(file);
            } catch (IOException e) {
                faults.add(String.valueOf(e.getMessage()));
            }
        }
    }

    /** The caller closes them. */
    public TokenizerPair openTokenizers() throws IOException {
        SpecialIds special = manifest.specialIds();
        BundleManifest.Vocabulary words = manifest.vocabulary();
        SubwordTokenizer source = SubwordTokenizer.load(folder.resolve(TOKENIZER), special, words.sourceSize());
        if (!manifest.hasTargetTokenizer()) {
            return TokenizerPair.shared(source);
        }
        try {
            return new TokenizerPair(
                    source, SubwordTokenizer.load(folder.resolve(TARGET_TOKENIZER), special, words.targetSize()));
        } catch (IOException e) {
            source.close();
            throw e;
        }
    }

    static String sha256(Path file) throws IOException {
        try (InputStream in = Files.newInputStream(file)) {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            byte[] buffer = new byte[1 << 16];
            for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
                digest.update(buffer, 0, read);
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java platform has SHA-256", e);
        }
    }
}
