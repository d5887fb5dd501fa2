package io.dragoman.command;

import io.dragoman.batch.PaddedBatch;
import io.dragoman.infer.Bundle;
import io.dragoman.infer.BundleException;
import io.dragoman.infer.DecodingOptions;
import io.dragoman.infer.Hypothesis;
import io.dragoman.infer.LinkChoice;
import io.dragoman.infer.OnnxTranslationModel;
import io.dragoman.infer.TranslationModel;
import io.dragoman.infer.WordLinks;
import io.dragoman.tokenize.TokenizedText;
import io.dragoman.tokenize.TokenizerPair;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "align",
        description = "Aligns given pairs: reads lines of source<TAB>target and writes i-j links (source-target,"
                + " 0-based, over whitespace-separated words), one line a pair. A pair that cannot be aligned gives"
                + " an empty line and a message.",
        mixinStandardHelpOptions = true)
final class AlignCommand implements Callable<Integer> {
    private static final int ROWS = 32;

    @Option(names = "--from", paramLabel = "LANGUAGE", description = "Source language, e.g. fr (default: the model's).")
    private @Nullable String from;

    @Option(names = "--to", paramLabel = "LANGUAGE", description = "Target language, e.g. en (default: the model's).")
    private @Nullable String to;

    @Option(names = "--bundle", paramLabel = "NAME", description = "The model's name or folder (default: by language).")
    private @Nullable String bundle;

    private record Pair(TokenizedText source, TokenizedText target) {}

    @Override
    public Integer call() throws Exception {
        Bundle opened = Bundle.open(Home.bundle(BundleChoice.byLanguage(bundle, from, to)));
        if (!opened.manifest().attention().published()) {
            throw new CommandException("the model " + opened.manifest().name()
                    + " has no attention to align with: name another with --bundle (`dragoman bundle list` shows"
                    + " which there are)");
        }
        int failures = 0;
        AtomicLong done = new AtomicLong();
        try (TranslationModel model = open(opened);
                TokenizerPair tokenizers = opened.openTokenizers();
                Progress progress = Progress.of(() -> done.get() + " pairs aligned")) {
            LineReader lines = new LineReader(System.in);
            List<byte[]> block = new ArrayList<>();
            for (byte[] line = lines.next(); line != null; line = lines.next()) {
                block.add(line);
                if (block.size() == ROWS) {
                    failures += align(block, done, model, tokenizers);
                    block.clear();
                }
            }
            failures += align(block, done, model, tokenizers);
        }
        if (failures > 0) {
            throw new CommandException(failures + " of " + done + " lines could not be aligned");
        }
        return 0;
    }

    private static TranslationModel open(Bundle bundle) throws BundleException, IOException {
        try (Progress progress = Progress.of("loading the model")) {
            return OnnxTranslationModel.open(
                    bundle,
                    new OnnxTranslationModel.Placement(
                            null, Runtime.getRuntime().availableProcessors(), 1));
        }
    }

    /** Writes a line for each of {@code block} and returns how many are empty for a fault. */
    private static int align(List<byte[]> block, AtomicLong done, TranslationModel model, TokenizerPair tokenizers) {
        List<@Nullable Pair> pairs = new ArrayList<>();
        for (int i = 0; i < block.size(); i++) {
            pairs.add(tokenize(block.get(i), done.get() + i + 1, model, tokenizers));
        }
        List<Pair> usable = new ArrayList<>();
        for (Pair pair : pairs) {
            if (pair != null) {
                usable.add(pair);
            }
        }
        List<List<Hypothesis>> forced = usable.isEmpty() ? List.of() : decode(usable, model);
        LinkChoice choice = model.manifest().attention().links();
        int next = 0;
        for (Pair pair : pairs) {
            if (pair == null) {
                System.out.println();
                continue;
            }
            Hypothesis hypothesis = forced.get(next++).get(0);
            System.out.println(hypothesis
                    .attention()
                    .map(matrix -> WordLinks.overWords(pair.source(), pair.target(), matrix, choice).stream()
                            .map(WordLinks.Link::toString)
                            .collect(Collectors.joining(" ")))
                    .orElse(""));
        }
        System.out.flush();
        done.addAndGet(block.size());
        return pairs.size() - usable.size();
    }

    private static List<List<Hypothesis>> decode(List<Pair> pairs, TranslationModel model) {
        PaddedBatch batch = new PaddedBatch(
                pairs.stream().map(Pair::source).toList(),
                model.manifest().specialIds().pad());
        List<long[]> prefixes = pairs.stream().map(pair -> pair.target().ids()).toList();
        DecodingOptions options =
                new DecodingOptions(1, model.manifest().limits().maxTargetTokens(), 0);
        return model.decode(batch, prefixes, options);
    }

    private static @Nullable Pair tokenize(byte[] line, long number, TranslationModel model, TokenizerPair tokenizers) {
        String[] columns;
        try {
            columns = LineReader.decode(line).split("\t", -1);
        } catch (CharacterCodingException e) {
            return complain(number, "should be UTF-8: it is not");
        }
        if (columns.length != 2) {
            return complain(number, "should have 2 columns split by one TAB: has " + columns.length);
        }
        Pair pair = new Pair(
                tokenizers.source().tokenize(columns[0]), tokenizers.target().tokenize(columns[1]));
        int longestSource = model.manifest().limits().maxSourceTokens();
        int longestTarget = model.manifest().limits().maxTargetTokens();
        if (pair.source().length() < 2 || pair.target().length() < 2) {
            return complain(number, "should have a text on both sides");
        }
        if (pair.source().length() > longestSource || pair.target().length() > longestTarget) {
            return complain(
                    number,
                    "should have at most " + longestSource + " and " + longestTarget + " subword tokens: has "
                            + pair.source().length() + " and " + pair.target().length());
        }
        return pair;
    }

    private static @Nullable Pair complain(long number, String what) {
        System.err.println("dragoman: line " + number + " " + what);
        return null;
    }
}
