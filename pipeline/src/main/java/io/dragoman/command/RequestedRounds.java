package io.dragoman.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.dragoman.batch.BatchLimits;
import io.dragoman.infer.BundleException;
import io.dragoman.infer.Hypothesis;
import io.dragoman.infer.Outcome;
import io.dragoman.infer.TranslationModel;
import io.dragoman.infer.TranslationService;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TokenizedText;
import io.dragoman.tokenize.TokenizerPair;
import io.dragoman.topology.Pipeline;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * Rounds that another program asks for, so that it can take turns with engines of its own. A request is a line, {@code WHAT
 * COUNT}; the answer is a line of JSON: {@code seconds}, {@code texts} (the translations, in the order of the sentences),
 * {@code tokens} (how many the model wrote for them, ends of sentences included), {@code millis} (one for each sentence that
 * was asked alone) and {@code memory} (this process's highest resident set, bytes).
 *
 * <p>WHAT is {@code engine} (the model and the forming of batches alone, from ids to ids and attention), {@code pipeline}
 * (from the first send to the last record that a {@code read_committed} consumer has), or either with {@code -singly}: one
 * sentence at a time, the next when the last is answered. {@code backlog} is the time from when the pipeline is started
 * to the last record, all sentences wait for it already; its COUNT may be larger than the number of sentences, which are repeated, and
 * it gives no texts.
 */
final class RequestedRounds {
    private static final Duration PATIENCE = Duration.ofSeconds(90);

    /** A translation and the number of tokens that it was written with, the end of the sentence included. */
    private record Result(String text, int tokens) {}

    private final LocalPipeline local;
    private final TokenizerPair tokenizers;
    private final List<String> lines;
    private final ObjectMapper mapper = new ObjectMapper();

    /** All stay the caller's; the settings are the pipeline's. */
    RequestedRounds(LocalPipeline local, TokenizerPair tokenizers, List<String> lines) {
        this.local = local;
        this.tokenizers = tokenizers;
        this.lines = List.copyOf(lines);
    }

    /** Until the end of {@code requests}. */
    void run(InputStream requests, PrintStream answers)
            throws IOException, BundleException, CommandException, InterruptedException {
        BufferedReader reader = new BufferedReader(new InputStreamReader(requests, StandardCharsets.UTF_8));
        for (String request = reader.readLine(); request != null; request = reader.readLine()) {
            String[] words = request.strip().split(" ", -1);
            int count = words.length == 2 && words[1].matches("[1-9]\\d{0,8}") ? Integer.parseInt(words[1]) : 0;
            if (count == 0 || (count > lines.size() && !words[0].equals("backlog"))) {
                throw new CommandException(
                        "a request should be WHAT and a number up to " + lines.size() + ", was: " + request);
            }
            ObjectNode answer =
                    switch (words[0]) {
                        case "engine" -> engine(lines.subList(0, count));
                        case "engine-singly" -> engineSingly(lines.subList(0, count));
                        case "pipeline" -> pipeline(lines.subList(0, count));
                        case "pipeline-singly" -> pipelineSingly(lines.subList(0, count));
                        case "backlog" -> backlog(count);
                        default ->
                            throw new CommandException("a request should be engine, pipeline, engine-singly,"
                                    + " pipeline-singly or backlog, was: " + request);
                    };
            answers.println(mapper.writeValueAsString(answer.put("memory", BenchCommand.peakMemory() * 1024)));
            answers.flush();
        }
    }

    /** The pipeline's own, idle meanwhile: a GPU should hold one session. */
    private TranslationModel model() {
        return local.pipeline().models().get(0);
    }

    private ObjectNode engine(List<String> sentences) throws CommandException {
        List<TokenizedText> texts =
                sentences.stream().map(tokenizers.source()::tokenize).toList();
        List<Outcome> outcomes;
        long nanos;
        try (TranslationService service = service(Pipeline.batchLimits(local.config(), model().manifest()))) {
            long start = System.nanoTime();
            List<CompletableFuture<Outcome>> results =
                    texts.stream().map(service::submit).toList();
            outcomes = results.stream().map(CompletableFuture::join).toList();
            nanos = System.nanoTime() - start;
        }
        return answer(nanos, new long[0], results(outcomes));
    }

    private ObjectNode engineSingly(List<String> sentences) throws CommandException {
        List<Outcome> outcomes = new ArrayList<>();
        long[] each = new long[sentences.size()];
        long begin = System.nanoTime();
        try (TranslationService service =
                service(Pipeline.batchLimits(local.config(), model().manifest()).singly())) {
            for (int i = 0; i < each.length; i++) {
                TokenizedText text = tokenizers.source().tokenize(sentences.get(i));
                long start = System.nanoTime();
                outcomes.add(service.submit(text).join());
                each[i] = System.nanoTime() - start;
            }
        }
        return answer(System.nanoTime() - begin, each, results(outcomes));
    }

    private ObjectNode pipeline(List<String> sentences) throws IOException, CommandException, InterruptedException {
        List<Result> results = new ArrayList<>();
        try (TranslationClient client = client()) {
            long start = System.nanoTime();
            new Conversation(client, () -> local.pipeline().fault().orElse("the pipeline stopped"))
                    .run(lines(sentences), (number, line, reply) -> results.add(result(reply)));
            return answer(System.nanoTime() - start, new long[0], results);
        }
    }

    private ObjectNode pipelineSingly(List<String> sentences) throws CommandException {
        List<Result> results = new ArrayList<>();
        long[] each = new long[sentences.size()];
        try (TranslationClient client = client()) {
            long begin = System.nanoTime();
            for (int i = 0; i < each.length; i++) {
                long start = System.nanoTime();
                client.send(i, sentences.get(i).getBytes(StandardCharsets.UTF_8));
                Map<Long, Reply> replies = client.poll(PATIENCE);
                while (replies.isEmpty() && System.nanoTime() - start < PATIENCE.toNanos()) {
                    replies = client.poll(PATIENCE);
                }
                if (replies.isEmpty()) {
                    throw new CommandException("no result for " + PATIENCE.toSeconds() + " s");
                }
                each[i] = System.nanoTime() - start;
                results.add(result(replies.values().iterator().next()));
            }
            return answer(System.nanoTime() - begin, each, results);
        }
    }

    private ObjectNode backlog(int count) throws IOException, BundleException, CommandException, InterruptedException {
        local.stop();
        try (TranslationClient client = client()) {
            for (int i = 0; i < count; i++) {
                client.send(i, lines.get(i % lines.size()).getBytes(StandardCharsets.UTF_8));
            }
            client.flush();
            long start = System.nanoTime();
            local.resume(); // it may have read a part of them before it returns
            long lastReply = start;
            for (int answered = 0; answered < count; ) {
                Map<Long, Reply> replies = client.poll(Duration.ofMillis(100));
                for (Reply reply : replies.values()) {
                    result(reply);
                }
                answered += replies.size();
                lastReply = replies.isEmpty() ? lastReply : System.nanoTime();
                if (System.nanoTime() - lastReply > PATIENCE.toNanos()) {
                    throw new CommandException("no result for " + PATIENCE.toSeconds() + " s, "
                            + local.pipeline().fault().orElse("the pipeline stopped"));
                }
            }
            return answer(System.nanoTime() - start, new long[0], List.of());
        }
    }

    private static Conversation.Lines lines(List<String> sentences) {
        var next = sentences.iterator();
        return () -> next.hasNext() ? next.next().getBytes(StandardCharsets.UTF_8) : null;
    }

    private TranslationService service(BatchLimits limits) {
        return BenchCommand.service(local.config(), model(), limits);
    }

    private TranslationClient client() throws CommandException {
        return new TranslationClient(
                local.bootstrapServers(), Map.of(), local.config().topics(), null, null, false);
    }

    private List<Result> results(List<Outcome> outcomes) throws CommandException {
        SubwordTokenizer target = tokenizers.target();
        List<Result> results = new ArrayList<>();
        for (Outcome outcome : outcomes) {
            if (outcome instanceof Outcome.Translated translated) {
                Hypothesis best = translated.best();
                results.add(new Result(target.detokenize(best.ids()).text(), best.length()));
            } else {
                throw new CommandException("the model failed on a sentence: use others");
            }
        }
        return results;
    }

    private static Result result(Reply reply) throws CommandException {
        if (reply.translation() == null) {
            throw new CommandException("a sentence was rejected: use others");
        }
        return new Result(
                reply.translation().getTranslation(),
                reply.translation().getTokenLogProbs().size());
    }

    private ObjectNode answer(long nanos, long[] each, List<Result> results) {
        ObjectNode answer = mapper.createObjectNode().put("seconds", nanos / 1e9);
        answer.put("tokens", results.stream().mapToInt(Result::tokens).sum());
        ArrayNode millis = answer.putArray("millis");
        Arrays.stream(each).forEach(one -> millis.add(one / 1e6));
        ArrayNode translations = answer.putArray("texts");
        results.forEach(result -> translations.add(result.text()));
        return answer;
    }
}
