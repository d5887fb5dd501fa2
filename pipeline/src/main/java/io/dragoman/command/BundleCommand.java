package io.dragoman.command;

import io.dragoman.infer.Bundle;
import io.dragoman.infer.BundleException;
import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.BundleVerification;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

@Command(
        name = "bundle",
        description = "Models: which there are, what they say of themselves, and whether they are sound.",
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {
            BundleCommand.ListBundles.class,
            BundleCommand.Inspect.class,
            BundleCommand.Verify.class,
            BundleImportCommand.class
        })
final class BundleCommand {

    @Command(name = "list", description = "The bundles that come with Dragoman.", mixinStandardHelpOptions = true)
    static final class ListBundles implements Callable<Integer> {
        @Override
        public Integer call() throws IOException {
            Path folder = Home.bundles();
            try (Stream<Path> entries = Files.isDirectory(folder) ? Files.list(folder) : Stream.empty()) {
                for (Path entry : entries.sorted().toList()) {
                    if (!Files.isDirectory(entry)
                            || entry.getFileName().toString().startsWith(".")) {
                        continue; // a hidden one is a bundle on its way in
                    }
                    System.out.println(entry.getFileName() + "\t" + describe(entry));
                }
            }
            return 0;
        }

        private static String describe(Path folder) {
            try {
                BundleManifest manifest = Bundle.open(folder).manifest();
                return manifest.name() + " " + manifest.version() + ", "
                        + manifest.languages().source() + " to "
                        + manifest.languages().target() + ", " + manifest.architecture()
                        + (manifest.attention().published() ? "" : ", no alignments");
            } catch (BundleException e) {
                return "unusable: " + String.join("; ", e.faults());
            }
        }
    }

    @Command(
            name = "inspect",
            description = "What a bundle says of itself, once its files are found to be what it says.",
            mixinStandardHelpOptions = true)
    static final class Inspect implements Callable<Integer> {
        @Parameters(paramLabel = "BUNDLE", description = "Its name or folder.")
        private String name = "";

        @Override
        public Integer call() throws BundleException {
            Bundle bundle = Bundle.open(Home.bundle(name));
            BundleManifest manifest = bundle.manifest();
            row("folder", bundle.folder());
            row("name", manifest.name() + " " + manifest.version());
            row("format version", manifest.formatVersion());
            String known = manifest.architectureName();
            row("architecture", manifest.architecture() + (known == null ? "" : ", " + known));
            row(
                    "languages",
                    manifest.languages().source() + " to "
                            + manifest.languages().target());
            row(
                    "vocabulary",
                    manifest.vocabulary().sourceSize() + " source, "
                            + manifest.vocabulary().targetSize() + " target entries");
            row(
                    "longest",
                    manifest.limits().maxSourceTokens() + " source, "
                            + manifest.limits().maxTargetTokens() + " target tokens");
            row("search", search(manifest.decoding()));
            row("attention", attention(manifest.attention()));
            if (manifest.attention().published()) {
                row("links", manifest.attention().links());
            }
            row("model sha256", manifest.modelSha256());
            Map<String, BundleManifest.Score> scores = manifest.scores();
            if (scores != null) {
                new TreeMap<>(scores)
                        .forEach((set, score) -> row(
                                "score",
                                String.format(
                                        Locale.ROOT,
                                        "%s: BLEU %.1f, chrF %.1f (%d sentences, beam %d)",
                                        set,
                                        score.bleu(),
                                        score.chrf(),
                                        score.sentences(),
                                        score.beamSize())));
            }
            return 0;
        }

        private static String search(BundleManifest.Decoding decoding) {
            return "beam " + decoding.beamSize() + ", length penalty " + decoding.lengthPenalty()
                    + (decoding.beamThreshold() > 0
                            ? ", hypotheses " + decoding.beamThreshold() + " below the best given up"
                            : "");
        }

        private static String attention(BundleManifest.Attention attention) {
            if (!attention.published()) {
                return "none: no alignments are published";
            }
            String place = attention.heads().isEmpty()
                    ? "an alignment head"
                    : "layer " + attention.layer() + ", heads " + attention.heads();
            return place + ", shift " + attention.shift();
        }

        private static void row(String name, Object value) {
            System.out.printf(Locale.ROOT, "%-16s %s%n", name, value);
        }
    }

    @Command(
            name = "verify",
            description = "Checks a bundle's files and runs its golden sentences: same translations and weights as at"
                    + " export, alone and in a batch, searched, forced and step by step.",
            mixinStandardHelpOptions = true)
    static final class Verify implements Callable<Integer> {
        @Parameters(paramLabel = "BUNDLE", description = "Its name or folder.")
        private String name = "";

        @Override
        public Integer call() throws CommandException {
            verify(Home.bundle(name));
            return 0;
        }
    }

    /** Prints a line for each check; the exception has every reason at once. */
    static void verify(Path folder) throws CommandException {
        List<BundleVerification.Check> checks;
        try (Progress progress = Progress.of("running the golden sentences")) {
            checks = BundleVerification.of(folder);
        }
        checks.forEach(System.out::println);
        List<String> faults =
                checks.stream().flatMap(check -> check.faults().stream()).toList();
        if (!faults.isEmpty()) {
            throw unusable(folder, faults);
        }
    }

    static CommandException unusable(Path folder, List<String> faults) {
        return new CommandException("bundle " + folder + " cannot be used: " + String.join("; ", faults)
                + "; export it again or get a whole copy");
    }
}
