package io.dragoman.tokenize;

import io.dragoman.tokenize.SubwordTokenizer.SpecialIds;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Path;

/**
 * A tokenizer for tests: 310 entries, the normalizer and pre-tokenizer of real bundles. Ids 0 to 3 are special, 4 to 259
 * bytes, 260 to 289 the word start, the letters a to z, é, the full stop and the apostrophe; then a few merges, so that
 * {@code chat} is one piece, {@code noir} and {@code black} are two.
 */
public final class TinyTokenizer {
    public static final SpecialIds SPECIAL = new SpecialIds(0, 1, 2, 3);
    public static final int SIZE = 310;

    private TinyTokenizer() {}

    public static Path file() {
        try {
            return Path.of(
                    TinyTokenizer.class.getResource("/tiny-tokenizer.json").toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A new one; the caller closes it. */
    public static SubwordTokenizer open() {
        try {
            return SubwordTokenizer.load(file(), SPECIAL);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
