package io.dragoman.command;

import io.dragoman.infer.Bundle;
import io.dragoman.infer.BundleException;
import io.dragoman.infer.BundleManifest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
        name = "import",
        description = "Takes a bundle from a folder anywhere: verifies it and copies it, whole or not at all, to where"
                + " --from and --to find it.",
        mixinStandardHelpOptions = true)
final class BundleImportCommand implements Callable<Integer> {
    private static final String OLD = "old";

    @Parameters(paramLabel = "PATH", description = "The bundle's folder.")
    private Path path = Path.of("");

    @Option(
            names = "--name",
            paramLabel = "NAME",
            description = "What it is called from now on (default: its languages, e.g. fr-en, which --from and --to"
                    + " look for).")
    private @Nullable String name;

    @Option(names = "--to", paramLabel = "DIR", description = "The folder to put it in (default: Dragoman's bundles).")
    private @Nullable Path folder;

    @Option(names = "--force", description = "Replace a bundle of that name.")
    private boolean force;

    @Override
    public Integer call() throws BundleException, CommandException, IOException {
        Bundle bundle;
        try {
            bundle = Bundle.open(path);
        } catch (BundleException e) {
            throw BundleCommand.unusable(path, e.faults());
        }
        BundleManifest manifest = bundle.manifest();
        String languages =
                manifest.languages().source() + "-" + manifest.languages().target();
        String called = name == null ? languages : name;
        if (!called.matches("[A-Za-z0-9_-][A-Za-z0-9_.-]*")) {
            throw new CommandException("a bundle's name should be letters, digits, '_', '.' and '-': was " + called
                    + "; give another with --name");
        }
        Path target = (folder == null ? Home.bundles() : folder).resolve(called);
        if (Files.exists(target, LinkOption.NOFOLLOW_LINKS) && !force) {
            throw new CommandException(target + " exists: give --force to replace it, or another name with --name");
        }
        BundleCommand.verify(path);
        putInPlace(bundle, target);
        System.out.println("imported " + manifest.name() + " " + manifest.version() + " to " + target);
        System.out.println(
                folder == null && called.equals(languages)
                        ? "use it with --from " + manifest.languages().source() + " --to "
                                + manifest.languages().target()
                        : "use it with --bundle " + (folder == null ? called : target));
        return 0;
    }

    /**
     * Copies what the manifest lists to a folder beside {@code target} and renames it there; a bundle that is replaced is
     * moved away first.
     */
    private static void putInPlace(Bundle bundle, Path target) throws IOException, BundleException {
        Path parent = Files.createDirectories(target.toAbsolutePath().getParent());
        Path room = Files.createTempDirectory(parent, "." + target.getFileName() + "-");
        Thread atShutdown = new Thread(() -> cleanUpAtShutdown(room, target), "dragoman-shutdown");
        Runtime.getRuntime().addShutdownHook(atShutdown);
        try {
            Path fresh = Files.createDirectory(room.resolve("new"));
            Files.copy(bundle.folder().resolve(Bundle.MANIFEST), fresh.resolve(Bundle.MANIFEST));
            for (String file : bundle.manifest().files().keySet()) {
                Files.copy(bundle.folder().resolve(file), fresh.resolve(file));
            }
            Bundle.open(fresh); // the copy is what was verified
            if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
                Files.move(target, room.resolve(OLD), StandardCopyOption.ATOMIC_MOVE);
            }
            Files.move(fresh, target, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            cleanUp(room, target);
            try {
                Runtime.getRuntime().removeShutdownHook(atShutdown);
            } catch (IllegalStateException e) {
                // the JVM is ending already: the folder is deleted once more, which does no harm
            }
        }
    }

    private static void cleanUpAtShutdown(Path room, Path target) {
        try {
            cleanUp(room, target);
        } catch (IOException e) {
            System.err.println("dragoman: " + room + " could not be deleted: " + e.getMessage());
        }
    }

    /** Deletes {@code room}; a bundle that was moved there and has no successor goes back to its place first. */
    static void cleanUp(Path room, Path target) throws IOException {
        Path old = room.resolve(OLD);
        if (Files.exists(old, LinkOption.NOFOLLOW_LINKS) && !Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
            Files.move(old, target, StandardCopyOption.ATOMIC_MOVE);
        }
        Home.deleteTree(room);
    }
}
