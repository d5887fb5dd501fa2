package io.dragoman.infer;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

/**
 * Whole bundles with untrained models, made by {@code src/test/python/tiny_bundles.py}: {@code attending} has shifted
 * rows, a tokenizer for each language, Marian's special ids, a flat length limit and links of its own; {@code blind} has
 * no attention.
 */
public final class TinyBundles {
    private TinyBundles() {}

    public static Path folder(String name) {
        try {
            return Path.of(Objects.requireNonNull(TinyBundles.class.getResource("/bundles/" + name))
                    .toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A copy that may be spoilt. */
    public static Path copy(String name, Path to) throws IOException {
        Files.createDirectories(to);
        List<Path> files;
        try (Stream<Path> found = Files.list(folder(name))) {
            files = found.toList();
        }
        for (Path file : files) {
            Files.copy(file, to.resolve(file.getFileName()));
        }
        return to;
    }
}
