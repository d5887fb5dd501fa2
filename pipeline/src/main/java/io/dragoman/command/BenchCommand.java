package io.dragoman.command;

import io.dragoman.batch.BatchLimits;
import io.dragoman.config.DragomanConfig;
import io.dragoman.infer.Bundle;
import io.dragoman.infer.Outcome;
import io.dragoman.infer.TranslationModel;
import io.dragoman.infer.TranslationService;
import io.dragoman.infer.TranslationService.Totals;
import io.dragoman.metrics.Meters;
import io.dragoman.tokenize.TokenizedText;
import io.dragoman.tokenize.TokenizerPair;
import io.dragoman.topology.Pipeline;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Three ways over the same sentences, in turn, round by round, so that a noisy machine touches all alike: the bare model
 * (batches formed by the same rules, no Kafka, no Avro), the whole pipeline at saturation (from the first send to the last
 * result visible to a {@code read_committed} consumer), and the bare model with one sentence a batch.
 */
@Command(
        name = "bench",
        description =
                "Measures the bare model, the whole pipeline and batches of one on the same sentences, in one run.",
        mixinStandardHelpOptions = true)
final class BenchCommand implements Callable<Integer> {
    private static final long SEED = 1;
    private static final int WARM_UP_SENTENCES = 500;
    private static final int LATENCY_SENTENCES = 1000;
    /** A pipeline takes a moment to fill and to empty: it is at saturation in between. */
    private static final int BARE_SECONDS = 10;

    @Option(names = "--bundle", defaultValue = "fr-en", description = "The model (default: ${DEFAULT-VALUE}).")
    private String bundle = "fr-en";

    @Option(names = "--file", paramLabel = "FILE", description = "Sentences, one a line (default: the samples).")
    private @Nullable Path file;

    @Option(
            names = "--sentences",
            paramLabel = "N",
            description =
                    "How many; the file is repeated or cut (default: as many as the bare model does in ten seconds).")
    private @Nullable Integer sentences;

    @Option(names = "--rounds", defaultValue = "3", description = "Rounds (default: ${DEFAULT-VALUE}).")
    private int rounds;

    @Option(
            names = "--beam-size",
            split = ",",
            paramLabel = "K",
            description = "Searches to measure, one after the other (default: the bundle's, which 0 is as well, then 1,"
                    + " greedy).")
    private List<Integer> beamSizes = new ArrayList<>();

    @Option(
            names = "--latency",
            description = "Print throughput and latency against linger, batch size and commit interval in place of the"
                    + " comparison.")
    private boolean latency;

    @Option(
            names = "--on-request",
            description =
                    "In place of the comparison, do the rounds that standard input asks for, a line each: engine N, pipeline"
                            + " N, engine-singly N or pipeline-singly N, over the first N sentences, or backlog N, over N"
                            + " that wait in the topic already. Each gives a line of JSON.")
    private boolean onRequest;

    @Option(
            names = "--seconds",
            paramLabel = "N",
            defaultValue = "15",
            description = "With --latency, how long each load is kept up (default: ${DEFAULT-VALUE}).")
    private int seconds;

    @Option(names = "--set", paramLabel = "NAME=VALUE", description = "A setting of the pipeline; may be repeated.")
    private Map<String, String> settings = new HashMap<>();

    private record Measured(double seconds, Totals totals) {
        /** Sentences a second. */
        double rate() {
            return totals.sentences() / seconds;
        }

        @Override
        public String toString() {
            return String.format(
                    Locale.ROOT,
                    "%.1f sentences/s, %.0f target tokens/s, %.1f rows a batch, %.0f %% padding",
                    rate(),
                    totals.targetTokens() / seconds,
                    totals.sentences() / (double) totals.batches(),
                    100.0 * (totals.paddedTokens() - totals.sourceTokens()) / totals.paddedTokens());
        }
    }

    @Override
    public Integer call() throws Exception {
        if ((sentences != null && sentences < 8) || rounds < 1 || seconds < 1) {
            throw new CommandException("--sentences should be at least 8, --rounds and --seconds at least 1");
        }
        List<String> some = lines();
        Bundle opened = Bundle.open(Home.bundle(bundle));
        if (beamSizes.isEmpty()) {
            beamSizes = List.of(opened.manifest().decoding().beamSize(), 1);
        }
        settings.putIfAbsent(DragomanConfig.BUNDLES, bundle);
        if (latency) {
            settings.put(DragomanConfig.MODEL_BEAM_SIZE, String.valueOf(beamSizes.get(0)));
            new LatencyCurve(
                            settings,
                            repeated(some, sentences == null ? LATENCY_SENTENCES : sentences),
                            Duration.ofSeconds(seconds),
                            System.out)
                    .run();
            return 0;
        }
        if (onRequest) {
            settings.put(DragomanConfig.MODEL_BEAM_SIZE, String.valueOf(beamSizes.get(0)));
            try (LocalPipeline local = LocalPipeline.start(settings);
                    TokenizerPair tokenizers = opened.openTokenizers()) {
                new RequestedRounds(local, tokenizers, some).run(System.in, System.out);
            }
            return 0;
        }
        for (int beamSize : beamSizes) {
            settings.put(DragomanConfig.MODEL_BEAM_SIZE, String.valueOf(beamSize));
            measure(opened, some);
            System.out.println();
        }
        long memory = peakMemory();
        System.out.println("peak memory of this process, a broker in it: "
                + (memory == 0 ? "not known on this system" : memory / 1024 + " MB"));
        return 0;
    }

    private void measure(Bundle opened, List<String> some) throws Exception {
        List<Measured> bare = new ArrayList<>();
        List<Measured> piped = new ArrayList<>();
        List<Measured> singly = new ArrayList<>();
        try (LocalPipeline local = LocalPipeline.start(settings);
                TokenizerPair tokenizers = opened.openTokenizers()) {
            TranslationModel model = local.pipeline().models().get(0);
            BatchLimits limits = Pipeline.batchLimits(local.config(), opened.manifest());
            List<String> warmUp = repeated(some, sentences == null ? WARM_UP_SENTENCES : Math.max(8, sentences / 4));
            bare(local.config(), model, limits, tokenized(warmUp, tokenizers)); // compiled and in the caches
            double rate = bare(local.config(), model, limits, tokenized(warmUp, tokenizers))
                    .rate();
            List<String> lines = repeated(
                    some, sentences == null ? (int) Math.max(WARM_UP_SENTENCES, rate * BARE_SECONDS) : sentences);
            List<TokenizedText> texts = tokenized(lines, tokenizers);
            piped(local, lines); // broker, clients and stream compiled too
            List<TokenizedText> few = texts.subList(0, texts.size() / 8);
            System.out.printf(
                    Locale.ROOT,
                    "beam %d: %d sentences, %.1f source tokens each, batches of at most %d rows and %d tokens, %d"
                            + " workers%n",
                    Pipeline.options(local.config(), opened.manifest()).beamSize(),
                    texts.size(),
                    texts.stream().mapToInt(TokenizedText::length).average().orElse(0),
                    limits.rows(),
                    limits.paddedTokens(),
                    Pipeline.workers(local.config()));
            System.out.flush();
            for (int round = 1; round <= rounds; round++) {
                bare.add(bare(local.config(), model, limits, texts));
                piped.add(piped(local, lines));
                singly.add(bare(local.config(), model, limits.singly(), few));
                System.out.println("round " + round);
                System.out.println("  bare model      " + bare.get(round - 1));
                System.out.println("  pipeline        " + piped.get(round - 1));
                System.out.println("  batches of one  " + singly.get(round - 1));
                System.out.flush();
            }
        }
        ratio("pipeline / bare model", piped, bare);
        ratio("bare model / batches of one", bare, singly);
        ratio("pipeline / batches of one", piped, singly);
    }

    private List<String> lines() throws IOException, CommandException {
        List<String> all = new ArrayList<>();
        Path given = file;
        InputStream in =
                given == null ? BenchCommand.class.getResourceAsStream("/samples.fr.txt") : Files.newInputStream(given);
        if (in == null) {
            throw new CommandException("the samples are missing from the jar: build it again");
        }
        try (BufferedReader reader = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8))) {
            reader.lines().filter(line -> !line.isBlank()).forEach(all::add);
        }
        if (all.isEmpty()) {
            throw new CommandException(given + ": should have at least one sentence");
        }
        return all;
    }

    private static List<String> repeated(List<String> all, int count) {
        List<String> lines = new ArrayList<>(count);
        while (lines.size() < count) {
            lines.add(all.get(lines.size() % all.size()));
        }
        Collections.shuffle(lines, new Random(SEED)); // so that any part is a fair sample of the whole
        return lines;
    }

    private static List<TokenizedText> tokenized(List<String> lines, TokenizerPair tokenizers) {
        return lines.stream().map(tokenizers.source()::tokenize).toList();
    }

    private static Measured bare(
            DragomanConfig config, TranslationModel model, BatchLimits limits, List<TokenizedText> texts) {
        try (TranslationService service = service(config, model, limits)) {
            long start = System.nanoTime();
            List<CompletableFuture<Outcome>> results =
                    texts.stream().map(service::submit).toList();
            results.forEach(CompletableFuture::join);
            return new Measured((System.nanoTime() - start) / 1e9, service.totals());
        }
    }

    /** Batches formed as the pipeline forms them, but for the limits given. The model stays the caller's. */
    static TranslationService service(DragomanConfig config, TranslationModel model, BatchLimits limits) {
        return new TranslationService(
                model, Pipeline.options(config, model.manifest()), limits, Pipeline.workers(config), 1, Meters.none());
    }

    private static Measured piped(LocalPipeline local, List<String> lines)
            throws IOException, CommandException, InterruptedException {
        try (TranslationClient client = new TranslationClient(
                local.bootstrapServers(), Map.of(), local.config().topics(), null, null, false)) {
            Iterator<String> next = lines.iterator();
            AtomicLong rejected = new AtomicLong();
            Totals before = local.pipeline().totals().get(0);
            long start = System.nanoTime();
            new Conversation(client, () -> local.pipeline().fault().orElse("the pipeline stopped"))
                    .run(
                            () -> next.hasNext() ? next.next().getBytes(StandardCharsets.UTF_8) : null,
                            (number, line, reply) -> {
                                if (reply.rejection() != null) {
                                    rejected.incrementAndGet();
                                }
                            });
            if (rejected.get() > 0) {
                throw new CommandException(rejected + " of the sentences were rejected: use others");
            }
            double seconds = (System.nanoTime() - start) / 1e9;
            return new Measured(seconds, local.pipeline().totals().get(0).since(before));
        }
    }

    private static void ratio(String name, List<Measured> of, List<Measured> to) {
        double[] ratios = new double[of.size()];
        for (int i = 0; i < ratios.length; i++) {
            ratios[i] = of.get(i).rate() / to.get(i).rate();
        }
        Arrays.sort(ratios);
        System.out.printf(
                Locale.ROOT,
                "%-28s median %.2f (%.2f to %.2f over %d rounds)%n",
                name,
                ratios[ratios.length / 2],
                ratios[0],
                ratios[ratios.length - 1],
                ratios.length);
    }

    /** The highest resident set of this process so far, KiB; 0 where the system does not tell. */
    static long peakMemory() throws IOException {
        Path status = Path.of("/proc/self/status");
        if (!Files.isReadable(status)) {
            return 0;
        }
        return Files.readAllLines(status).stream()
                .filter(line -> line.startsWith("VmHWM:"))
                .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                .findFirst()
                .orElse(0);
    }
}
