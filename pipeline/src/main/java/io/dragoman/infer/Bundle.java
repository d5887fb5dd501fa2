package io.dragoman.infer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.SubwordTokenizer.SpecialIds;
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
import java.util.TreeMap;

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
    public static final String GOLDEN = "golden.tsv";
    public static final int FORMAT_VERSION = 1;

    /**
     * Reads and checks a folder: the manifest, every file's size and hash, the vocabulary and the special ids. The graph
     * itself is checked when it is opened.
     *
     * @throws BundleException with every fault found
     */
    public static Bundle open(Path folder) throws BundleException {
        List<String> faults = new ArrayList<>();
        Path file = folder.resolve(MANIFEST);
        if (!Files.isRegularFile(file)) {
            throw new BundleException(folder, List.of(MANIFEST + " is missing: is this a model folder?"));
        }
        BundleManifest manifest = readManifest(folder, file);
        for (String name : List.of(MODEL, TOKENIZER, GOLDEN)) {
            if (!manifest.files().containsKey(name)) {
                faults.add(name + " is not listed under files");
            }
        }
        new TreeMap<>(manifest.files()).forEach((name, identity) -> checkFile(folder, name, identity, faults));
        checkNumbers(manifest, faults);
        checkVocabulary(folder, manifest, faults);
        if (!faults.isEmpty()) {
            throw new BundleException(folder, faults);
        }
        return new Bundle(folder, manifest);
    }

    private static BundleManifest readManifest(Path folder, Path file) throws BundleException {
        try {
            ObjectMapper mapper = new ObjectMapper()
                    .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
                    .enable(DeserializationFeature.FAIL_ON_NULL_CREATOR_PROPERTIES)
                    .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES);
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
            return mapper.treeToValue(json, BundleManifest.class);
        } catch (JsonProcessingException e) {
            throw new BundleException(folder, List.of(MANIFEST + ": " + e.getOriginalMessage()));
        } catch (IOException e) {
            throw new BundleException(folder, List.of(MANIFEST + " cannot be read: " + e.getMessage()));
        }
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
        if (manifest.limits().maxSourceTokens() < 2
                || manifest.limits().maxTargetTokens() < 2
                || manifest.limits().targetRatio() < 0
                || manifest.limits().targetOffset() < 1) {
            faults.add("limits should be positive: were " + manifest.limits());
        }
        if (manifest.decoding().beamSize() < 1 || !(manifest.decoding().lengthPenalty() >= 0)) {
            faults.add("decoding should have a positive beam size and length penalty: was " + manifest.decoding());
        }
    }

    private static void checkVocabulary(Path folder, BundleManifest manifest, List<String> faults) {
        Path file = folder.resolve(TOKENIZER);
        if (!Files.isRegularFile(file)) {
            return;
        }
        try (SubwordTokenizer tokenizer = SubwordTokenizer.load(file, manifest.specialIds())) {
            if (tokenizer.vocabularySize() != manifest.vocabulary().sourceSize()) {
                faults.add("the vocabulary should have " + manifest.vocabulary().sourceSize() + " entries: has "
                        + tokenizer.vocabularySize());
            }
            if (tokenizer.vocabularySize() != manifest.vocabulary().targetSize()) {
                faults.add("the target vocabulary should be the source's, " + tokenizer.vocabularySize()
                        + " entries: has " + manifest.vocabulary().targetSize());
            }
            if (!sha256(file).equals(manifest.vocabulary().sha256())) {
                faults.add("vocabulary.sha256 is not that of " + TOKENIZER);
            }
            SpecialIds special = manifest.specialIds();
            Map<String, Long> ids = Map.of(
                    "pad", special.pad(), "start", special.start(), "end", special.end(), "unknown", special.unknown());
            new TreeMap<>(ids).forEach((name, id) -> {
                if (id < 0 || id >= tokenizer.vocabularySize()) {
                    faults.add("special_ids." + name + " should be in the vocabulary: was " + id);
                }
            });
        } catch (IOException e) {
            faults.add(e.getMessage());
        }
    }

    /** The source and target tokenizer; the caller closes it. */
    public SubwordTokenizer openTokenizer() throws IOException {
        return SubwordTokenizer.load(folder.resolve(TOKENIZER), manifest.specialIds());
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
