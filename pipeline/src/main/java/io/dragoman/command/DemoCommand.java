package io.dragoman.command;

import io.dragoman.config.DragomanConfig;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.Translation;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "demo",
        description = "Starts a broker and a pipeline here, streams sentences through, prints translations with their"
                + " alignments, and keeps serving until Ctrl-C.",
        mixinStandardHelpOptions = true)
final class DemoCommand implements Callable<Integer> {
    @Option(names = "--once", description = "End after the sentences.")
    private boolean once;

    @Option(names = "--file", paramLabel = "FILE", description = "Stream the lines of FILE in place of the samples.")
    private @Nullable Path file;

    @Option(
            names = "--bundle",
            paramLabel = "NAME",
            defaultValue = "fr-en",
            description = "The model: a bundle's name or folder (default: ${DEFAULT-VALUE}).")
    private String bundle = "fr-en";

    @Override
    public Integer call() throws Exception {
        long began = System.nanoTime();
        try (LineReader lines = open();
                LocalPipeline local = LocalPipeline.start(Map.of(DragomanConfig.BUNDLES, bundle));
                TranslationClient client = new TranslationClient(
                        local.bootstrapServers(), Map.of(), local.config().topics(), null, null, true)) {
            System.out.printf(
                    Locale.ROOT,
                    "Broker at %s, pipeline running after %.1f s. Topics: %s%n%n",
                    local.bootstrapServers(),
                    (System.nanoTime() - began) / 1e9,
                    String.join(", ", local.config().topics().all()));
            System.out.flush();
            Conversation conversation = new Conversation(client, () -> local.pipeline()
                    .fault()
                    .orElse("the pipeline is " + local.pipeline().state()));
            StartUp firstReply = local.startUp();
            conversation.run(lines::next, (number, line, reply) -> {
                print(line, reply);
                if (number == 1) {
                    firstReply.done("first translation");
                }
            });
            if (!once) {
                System.out.println("Send more with any Kafka producer, one sentence a record:");
                System.out.println("  kafka-console-producer.sh --bootstrap-server " + local.bootstrapServers()
                        + " --topic " + local.config().topics().sentences());
                System.out.println("Serving until Ctrl-C.");
                System.out.flush();
                new CountDownLatch(1).await(); // a signal ends the JVM, and the pipeline closes with it
            }
        }
        return 0;
    }

    private LineReader open() throws IOException {
        if (file != null) {
            return new LineReader(Files.newInputStream(file));
        }
        InputStream samples = DemoCommand.class.getResourceAsStream("/samples.fr.txt");
        if (samples == null) {
            throw new IOException("the samples are missing from the jar: build it again");
        }
        return new LineReader(samples);
    }

    private static void print(byte[] line, Reply reply) {
        System.out.println("  " + LineReader.show(line).replaceAll("\\p{Cntrl}", " "));
        Rejection rejection = reply.rejection();
        Translation translation = reply.translation();
        Alignment alignment = reply.alignment();
        if (rejection != null) {
            System.out.println("! rejected, " + rejection.getReason() + ": " + rejection.getExplanation());
        }
        if (translation != null) {
            System.out.printf(
                    Locale.ROOT, "> %s   (score %.2f)%n", translation.getTranslation(), translation.getScore());
        }
        if (alignment != null) {
            System.out.print(Heatmap.draw(alignment, Terminal.width()));
        }
        System.out.println();
        System.out.flush();
    }
}
