package io.dragoman.tokenize;

import io.dragoman.tokenize.SubwordTokenizer.SpecialIds;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;

/**
 * A unigram tokenizer for tests, 44 entries and no fallback to bytes, with special ids in the order of Marian models: the
 * end first, the unknown token second, padding last and also the start. 2 to 4 are {@code the cat black}, 5 to 7 {@code le
 * chat noir}; then some pieces of them, the word start (13), the full stop, a piece that looks like a byte (15), the letters
 * a (16) to z, and é.
 */
public final class UnigramTokenizer {
    public static final int SIZE = 44;
    public static final SpecialIds SPECIAL = new SpecialIds(43, 43, 0, 1);

    private UnigramTokenizer() {}

    public static void copyTo(Path file) throws IOException {
        try (InputStream in =
                Objects.requireNonNull(UnigramTokenizer.class.getResourceAsStream("/unigram-tokenizer.json"))) {
            Files.copy(in, file);
        }
    }

    /** A new one; the caller closes it. */
    public static SubwordTokenizer open() {
        try {
            Path folder = Files.createTempDirectory("unigram");
            try {
                copyTo(folder.resolve("tokenizer.json"));
                return SubwordTokenizer.load(folder.resolve("tokenizer.json"), SPECIAL);
            } finally {
                Files.delete(folder.resolve("tokenizer.json"));
                Files.delete(folder);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
