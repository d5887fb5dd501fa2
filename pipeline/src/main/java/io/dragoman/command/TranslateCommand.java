package io.dragoman.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.dragoman.config.DragomanConfig;
import io.dragoman.config.TopicNames;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.Segment;
import io.dragoman.schema.Token;
import io.dragoman.schema.Translation;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "translate",
        description = "Translates standard input, one line in and one line out in the same order, through the whole"
                + " pipeline. A line that is rejected comes out empty (with --json, as an object with its reason).",
        mixinStandardHelpOptions = true)
final class TranslateCommand implements Callable<Integer> {
    @Option(names = "--from", paramLabel = "LANGUAGE", description = "Source language, e.g. fr (default: the model's).")
    private @Nullable String from;

    @Option(names = "--to", paramLabel = "LANGUAGE", description = "Target language, e.g. en (default: the model's).")
    private @Nullable String to;

    @Option(
            names = "--json",
            description =
                    "One object a line: id, source, translation, score, tokens, alignment (source_tokens,"
                            + " target_tokens, weights [target][source], links over words; null for a model without attention).")
    private boolean json;

    @Option(
            names = "--bootstrap-server",
            paramLabel = "HOST:PORT",
            description = "Use the pipeline that runs on this cluster, in place of one started here.")
    private @Nullable String bootstrapServer;

    @Option(
            names = "--command-config",
            paramLabel = "FILE",
            description = "Client settings for --bootstrap-server, a properties file.")
    private @Nullable Path commandConfig;

    @Option(
            names = "--topic-prefix",
            defaultValue = "dragoman",
            description = "First part of the topics' names (default: ${DEFAULT-VALUE}).")
    private String topicPrefix = "dragoman";

    @Option(
            names = "--beam-size",
            defaultValue = "0",
            description = "Hypotheses kept while searching; 1 is greedy, 0 takes the bundle's.")
    private int beamSize;

    @Option(names = "--bundle", paramLabel = "NAME", description = "The model's name or folder (default: by language).")
    private @Nullable String bundle;

    /** With more, a text's weights are left out of its line: a long text has millions, nearly all of them 0. */
    private static final long MAX_CELLS = 1_000_000;

    private final ObjectMapper mapper = new ObjectMapper();

    @Override
    public Integer call() throws Exception {
        String server = bootstrapServer;
        if (server != null) {
            Map<String, String> settings = PropertiesFile.readIfGiven(commandConfig);
            converse(server, settings, new TopicNames(topicPrefix), "is `dragoman run` running on " + server + "?");
            return 0;
        }
        Map<String, String> settings = Map.of(
                DragomanConfig.BUNDLES,
                BundleChoice.byLanguage(bundle, from, to),
                DragomanConfig.TOPIC_PREFIX,
                topicPrefix,
                DragomanConfig.MODEL_BEAM_SIZE,
                String.valueOf(beamSize),
                DragomanConfig.COMMIT_INTERVAL_MS,
                "200");
        try (LocalPipeline local = LocalPipeline.start(settings)) {
            converse(local.bootstrapServers(), Map.of(), local.config().topics(), "the pipeline stopped");
        }
        return 0;
    }

    private void converse(String server, Map<String, String> settings, TopicNames topics, String whyNothing)
            throws IOException, CommandException, InterruptedException {
        try (TranslationClient client = new TranslationClient(server, settings, topics, from, to, json)) {
            new Conversation(client, () -> whyNothing).run(new LineReader(System.in)::next, this::print);
        }
    }

    private void print(long number, byte[] line, Reply reply) throws IOException, CommandException {
        Rejection rejection = reply.rejection();
        if (rejection != null) {
            System.err.println("dragoman: line " + (number + 1) + " rejected, " + rejection.getReason() + ": "
                    + rejection.getExplanation());
        }
        Translation translation = reply.translation();
        if (json) {
            System.out.println(mapper.writeValueAsString(object(LineReader.show(line), reply)));
        } else {
            System.out.println(translation == null ? "" : oneLine(translation.getTranslation()));
        }
        System.out.flush();
        if (System.out.checkError()) {
            throw new CommandException("standard output was closed");
        }
    }

    /** A model may spell a line break; a line stays a line. */
    private static String oneLine(String translation) {
        return translation.replaceAll("[\\r\\n]+", " ");
    }

    /** {@code alignment} is null for a model without attention, whose tokens have log-probabilities alone. */
    static ObjectNode object(String line, Reply reply) {
        ObjectNode object = JsonNodeFactory.instance.objectNode();
        Rejection rejection = reply.rejection();
        if (rejection != null) {
            object.put("id", rejection.getId()).put("source", line).putNull("translation");
            object.putObject("rejection")
                    .put("reason", rejection.getReason().name())
                    .put("stage", rejection.getStage().name())
                    .put("explanation", rejection.getExplanation());
        }
        Translation translation = reply.translation();
        if (translation != null) {
            object.put("id", translation.getId())
                    .put("source", translation.getSourceText())
                    .put("translation", translation.getTranslation())
                    .put("score", translation.getScore());
        }
        if (translation != null && translation.getSegments().size() > 1) {
            addSegments(object.putArray("segments"), translation.getSegments());
        }
        Alignment alignment = reply.alignment();
        if (translation != null && alignment != null) {
            addTokens(object.putArray("tokens"), translation, alignment);
            addAlignment(object.putObject("alignment"), alignment);
        } else if (translation != null) {
            ArrayNode tokens = object.putArray("tokens");
            translation.getTokenLogProbs().forEach(logProb -> tokens.addObject().put("log_prob", logProb));
            object.putNull("alignment");
        }
        return object;
    }

    /** For a text that was split alone. */
    private static void addSegments(ArrayNode array, List<Segment> segments) {
        for (Segment segment : segments) {
            array.addObject()
                    .put("source_start", segment.getSourceStart())
                    .put("source_end", segment.getSourceEnd())
                    .put("target_start", segment.getTargetStart())
                    .put("target_end", segment.getTargetEnd())
                    .put("cut", segment.getCut().name());
        }
    }

    private static void addTokens(ArrayNode tokens, Translation translation, Alignment alignment) {
        for (int i = 0; i < alignment.getTargetTokens().size(); i++) {
            Token token = alignment.getTargetTokens().get(i);
            tokens.addObject()
                    .put("text", token.getText())
                    .put("start", token.getStart())
                    .put("end", token.getEnd())
                    .put("log_prob", translation.getTokenLogProbs().get(i));
        }
    }

    private static void addAlignment(ObjectNode object, Alignment alignment) {
        addTexts(object.putArray("source_tokens"), alignment.getSourceTokens());
        addTexts(object.putArray("target_tokens"), alignment.getTargetTokens());
        ArrayNode rows = object.putArray("weights");
        long size = (long) alignment.getTargetTokens().size()
                * alignment.getSourceTokens().size();
        for (float[] row : size > MAX_CELLS ? new float[0][] : Weights.of(alignment)) {
            ArrayNode cells = rows.addArray();
            for (float weight : row) {
                cells.add(weight);
            }
        }
        object.put("links", Weights.pharaoh(alignment.getWordLinks()));
    }

    private static void addTexts(ArrayNode array, List<Token> tokens) {
        tokens.forEach(token -> array.add(token.getText()));
    }
}
