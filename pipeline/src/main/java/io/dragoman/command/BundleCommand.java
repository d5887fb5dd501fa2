package io.dragoman.command;

import io.dragoman.infer.Bundle;
import io.dragoman.infer.BundleException;
import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.BundleVerification;
import io.dragoman.infer.OnnxTranslationModel;
import io.dragoman.infer.TranslationModel;
import io.dragoman.tokenize.SubwordTokenizer;
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
        subcommands = {BundleCommand.ListBundles.class, BundleCommand.Inspect.class, BundleCommand.Verify.class})
final class BundleCommand {

    @Command(name = "list", description = "The bundles that come with Dragoman.", mixinStandardHelpOptions = true)
    static final class ListBundles implements Callable<Integer> {
        @Override
        public Integer call() throws IOException {
            Path folder = Home.path().resolve("model-export").resolve("bundles");
            try (Stream<Path> entries = Files.isDirectory(folder) ? Files.list(folder) : Stream.empty()) {
                for (Path entry : entries.filter(Files::isDirectory).sorted().toList()) {
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
                        + manifest.languages().target() + ", " + manifest.architecture();
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
            row("architecture", manifest.architecture() + ", " + manifest.architectureName());
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
            row(
                    "search",
                    "beam " + manifest.decoding().beamSize() + ", length penalty "
                            + manifest.decoding().lengthPenalty());
            row(
                    "attention",
                    manifest.attention().published()
                            ? "layer " + manifest.attention().layer() + ", heads "
                                    + manifest.attention().heads() + ", shift "
                                    + manifest.attention().shift()
                            : "none: no alignments are published");
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

        private static void row(String name, Object value) {
            System.out.printf(Locale.ROOT, "%-16s %s%n", name, value);
        }
    }

    @Command(
            name = "verify",
            description = "Checks a bundle's files and runs its golden sentences: same translations and weights as at"
                    + " export, alone and in a batch, searched and forced.",
            mixinStandardHelpOptions = true)
    static final class Verify implements Callable<Integer> {
        @Parameters(paramLabel = "BUNDLE", description = "Its name or folder.")
        private String name = "";

        @Override
        public Integer call() throws Exception {
            Bundle bundle = Bundle.open(Home.bundle(name));
            System.out.println("ok    files, sizes, hashes, vocabulary, special ids");
            List<BundleVerification.Check> checks;
            try (Progress progress = Progress.of("running the golden sentences");
                    TranslationModel model = OnnxTranslationModel.open(bundle, OnnxTranslationModel.Placement.CPU);
                    SubwordTokenizer tokenizer = bundle.openTokenizer()) {
                System.out.println("ok    graph and its metadata");
                checks = BundleVerification.run(bundle, model, tokenizer);
            }
            for (BundleVerification.Check check : checks) {
                System.out.println((check.holds() ? "ok    " : "FAIL  ") + check.name() + ": " + check.detail());
            }
            if (!checks.stream().allMatch(BundleVerification.Check::holds)) {
                throw new CommandException("bundle " + name + " is not sound: do not use it, export it again");
            }
            return 0;
        }
    }
}
