package io.dragoman.command;

import io.dragoman.topology.Pipeline;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import org.jspecify.annotations.Nullable;

/** Where Dragoman is installed, and folders that end with a command. */
final class Home {
    private Home() {}

    /** The folder with {@code model-export/bundles}; the launcher tells. */
    static Path path() {
        return Path.of(System.getProperty("dragoman.home", "."));
    }

    /** Where bundles are looked for by name. */
    static Path bundles() {
        return Pipeline.bundlesFolder(path());
    }

    static Path bundle(String name) {
        return Pipeline.bundleFolder(path(), name);
    }

    static void deleteTree(Path folder) throws IOException {
        if (!Files.exists(folder)) {
            return;
        }
        Files.walkFileTree(folder, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.deleteIfExists(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path visited, @Nullable IOException e) throws IOException {
                Files.deleteIfExists(visited);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}
