package io.dragoman.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.dragoman.infer.TinyBundles;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a person types, as a person types it. */
class CommandsIT {
    @TempDir
    static Path folder;

    private static DragomanProcess run(String input, String... arguments) throws Exception {
        DragomanProcess process = DragomanProcess.start(folder, arguments);
        process.type(input);
        return process;
    }

    @Test
    void shouldTranslateLineByLineInOrderAndKeepThePlaceOfARejectedLine() throws Exception {
        DragomanProcess process = run("Merci.\n\nOui.\nMerci.\n", "translate", "--from", "fr", "--to", "en");
        assertEquals(0, process.await(), process.err());
        List<String> lines = process.out().lines().toList();
        assertEquals(4, lines.size());
        assertEquals("", lines.get(1));
        assertFalse(lines.get(0).isBlank());
        assertEquals(lines.get(0), lines.get(3));
        assertTrue(process.err().contains("line 2 rejected, EMPTY"), process.err());
    }

    @Test
    void shouldPrintTranslationsWithWeightsAsJson() throws Exception {
        DragomanProcess process = run("Le chat noir est sur le tapis\n", "translate", "--json");
        assertEquals(0, process.await(), process.err());
        JsonNode object = new ObjectMapper().readTree(process.out());
        JsonNode alignment = object.get("alignment");
        assertEquals("Le chat noir est sur le tapis", object.get("source").asText());
        assertEquals(
                alignment.get("target_tokens").size(), alignment.get("weights").size());
        assertEquals(alignment.get("target_tokens").size(), object.get("tokens").size());
        for (JsonNode row : alignment.get("weights")) {
            assertEquals(alignment.get("source_tokens").size(), row.size());
            double sum = 0;
            for (JsonNode weight : row) {
                sum += weight.asDouble();
            }
            assertEquals(1, sum, 1e-5);
        }
        assertTrue(alignment.get("links").asText().matches("\\d+-\\d+( \\d+-\\d+)*"));
    }

    @Test
    void shouldTranslateWithAModelThatHasNoAttention() throws Exception {
        String blind = TinyBundles.folder("blind").toString();
        DragomanProcess process = run("le chat noir\nété\n", "translate", "--json", "--bundle", blind);
        assertEquals(0, process.await(), process.err());
        List<String> lines = process.out().lines().toList();
        assertEquals(2, lines.size());
        JsonNode object = new ObjectMapper().readTree(lines.get(1));
        assertEquals("chat the black", object.get("translation").asText());
        assertTrue(object.get("alignment").isNull(), lines.get(1));
        assertEquals(4, object.get("tokens").size());
        process = DragomanProcess.start(folder, "demo", "--once", "--bundle", blind);
        assertEquals(0, process.await(), process.err());
        assertTrue(process.out().contains("Le chat noir est sur le tapis"), process.out());
        assertFalse(process.out().contains("</s>"), process.out());
    }

    @Test
    void shouldTranslateWithUnigramTokenizersOfBothLanguages() throws Exception {
        String attending = TinyBundles.folder("attending").toString();
        DragomanProcess process = run("le chat noir\nété\n", "translate", "--json", "--bundle", attending);
        assertEquals(0, process.await(), process.err());
        List<String> lines = process.out().lines().toList();
        JsonNode first = new ObjectMapper().readTree(lines.get(0));
        assertEquals("0-0 0-1 0-4", first.get("alignment").get("links").asText());
        assertEquals(
                "the chat le",
                new ObjectMapper().readTree(lines.get(1)).get("translation").asText());
    }

    @Test
    void shouldDoTheRoundsThatItsInputAsksFor() throws Exception {
        Path sentences = Files.writeString(folder.resolve("sentences.txt"), "Merci.\nOui.\nLe chat noir.\n");
        DragomanProcess process = run(
                "engine 3\npipeline 3\nengine-singly 2\npipeline-singly 1\nbacklog 40\npipeline 3\nengine 4\n",
                "bench",
                "--on-request",
                "--file",
                sentences.toString());
        assertEquals(1, process.await(), process.err());
        assertTrue(
                process.err().contains("a request should be WHAT and a number up to 3, was: engine 4"), process.err());
        List<String> lines = process.out().lines().toList();
        assertEquals(6, lines.size());
        JsonNode engine = new ObjectMapper().readTree(lines.get(0));
        JsonNode first = engine.get("texts");
        int words = 0;
        for (JsonNode text : first) {
            words += text.asText().split(" ").length;
        }
        assertTrue(engine.get("tokens").asInt() >= words + 3, lines.get(0)); // three ends of sentences
        int[] counts = {3, 3, 2, 1, 0, 3};
        for (int round = 0; round < counts.length; round++) {
            JsonNode answer = new ObjectMapper().readTree(lines.get(round));
            assertEquals(counts[round], answer.get("texts").size());
            if (counts[round] == 3) {
                assertEquals(engine.get("tokens"), answer.get("tokens"));
            }
            for (int i = 0; i < counts[round]; i++) {
                assertEquals(first.get(i), answer.get("texts").get(i));
            }
            assertEquals(
                    round == 2 || round == 3 ? counts[round] : 0,
                    answer.get("millis").size());
            assertTrue(answer.get("seconds").asDouble() > 0);
            assertTrue(answer.get("memory").asLong() > 100_000_000);
        }
    }

    @Test
    void shouldNotTakeASignalForAFaultOfItsOwn() throws Exception {
        String[] arguments = {"bench", "--sentences", "40", "--rounds", "100000", "--beam-size", "1"};
        try (DragomanProcess process = DragomanProcess.start(folder, arguments)) {
            process.awaitOutput("round 1");
            process.terminate();
            assertEquals(143, process.await(), process.err());
            assertFalse(process.err().contains("unexpected"), process.err());
        }
    }

    @Test
    void shouldAlignGivenPairsAndKeepThePlaceOfABadLine() throws Exception {
        DragomanProcess process = run(
                "Le chat noir\tThe black cat\nno tab here\nBonjour\tHello\n", "align", "--from", "fr", "--to", "en");
        assertEquals(1, process.await());
        List<String> lines = process.out().lines().toList();
        assertEquals(3, lines.size());
        assertEquals(3, lines.get(0).split(" ").length);
        assertEquals("", lines.get(1));
        assertEquals("0-0", lines.get(2));
        assertTrue(process.err().contains("line 2 should have 2 columns"), process.err());
    }

    @Test
    void shouldVerifyTheBundleThatComesWithIt() throws Exception {
        DragomanProcess process = run("", "bundle", "verify", "fr-en");
        assertEquals(0, process.await(), process.out() + process.err());
        assertEquals(
                7, process.out().lines().filter(line -> line.startsWith("ok ")).count(), process.out());
    }

    /**
     * The demo is traced: every connect of every thread, Java's and the native libraries', has to go to the loopback
     * interface. A look-up of a name would show as a connect to a name server, or to its socket.
     */
    @Test
    void shouldContactNobodyButTheBroker() throws Exception {
        Path trace = folder.resolve("trace");
        DragomanProcess process = DragomanProcess.start(
                folder,
                List.of("strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", trace.toString()),
                "demo",
                "--once");
        assertEquals(0, process.await(), process.err());
        assertTrue(process.out().contains("Le chat noir est sur le tapis"), process.out());
        Set<String> contacted = new TreeSet<>();
        Pattern address = Pattern.compile("sa_family=AF_INET6?,.*?inet_(?:addr|pton)\\((?:AF_INET6, )?\"([^\"]+)\"");
        for (String line : Files.readAllLines(trace)) {
            Matcher matcher = address.matcher(line);
            while (matcher.find()) {
                contacted.add(matcher.group(1));
            }
            assertFalse(line.contains("nscd") && line.contains(" = 0"), line);
        }
        contacted.removeIf(host -> host.equals("::ffff:127.0.0.1") || host.equals("127.0.0.1") || host.equals("::1"));
        assertEquals(Set.of(), contacted);
        assertTrue(Files.readString(trace).contains("127.0.0.1"), "the trace is empty: is strace allowed here?");
    }
}
