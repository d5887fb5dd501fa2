package io.dragoman.command;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.config.DragomanConfig;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Exit codes, and one line that says what to do. */
class DragomanTest {
    private final PrintStream realOut = System.out;
    private final PrintStream realErr = System.err;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteArrayOutputStream err = new ByteArrayOutputStream();

    @TempDir
    Path folder;

    @BeforeEach
    void capture() {
        System.setOut(new PrintStream(out, true, UTF_8));
        System.setErr(new PrintStream(err, true, UTF_8));
    }

    @AfterEach
    void release() {
        System.setOut(realOut);
        System.setErr(realErr);
    }

    /** The only line on standard error. */
    private String complaint() {
        String text = err.toString(UTF_8);
        assertEquals(1, text.lines().count(), text);
        return text.strip();
    }

    private String lastLine() {
        return err.toString(UTF_8).lines().reduce("", (before, line) -> line);
    }

    private Path file(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "'' ; Missing required subcommand (see `dragoman --help`)",
                "transalte ; Unmatched argument at index 0: 'transalte' (see `dragoman --help`)",
                "translate --frmo fr ; Unknown options: '--frmo', 'fr' (see `dragoman translate --help`)",
                "translate --beam-size many ; Invalid value for option '--beam-size': 'many' is not an int"
                        + " (see `dragoman translate --help`)",
                "run ; Missing required option: '--config=FILE' (see `dragoman run --help`)",
                "broker --port 9092 ; Missing required option: '--data=DIR' (see `dragoman broker --help`)",
                "topics ; Missing required subcommand (see `dragoman topics --help`)",
                "topics create --partitions x ; Invalid value for option '--partitions': 'x' is not an int"
                        + " (see `dragoman topics create --help`)",
                "bundle inspect ; Missing required parameter: 'BUNDLE' (see `dragoman bundle inspect --help`)",
                "bundle import ; Missing required parameter: 'PATH' (see `dragoman bundle import --help`)",
                "run --config a --set x ; Value for option option '--set' (NAME=VALUE) should be in KEY=VALUE format"
                        + " but was x (see `dragoman run --help`)"
            })
    void shouldExitWithTwoForWrongUsage(String arguments, String complaint) {
        assertEquals(2, Dragoman.execute(arguments.isEmpty() ? new String[0] : arguments.split(" ")));
        assertEquals("dragoman: " + complaint, complaint());
        assertEquals("", out.toString(UTF_8));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "--help",
                "demo --help",
                "translate --help",
                "align --help",
                "run --help",
                "broker --help",
                "topics --help",
                "topics create --help",
                "bundle --help",
                "bundle list --help",
                "bundle inspect --help",
                "bundle verify --help",
                "bundle import --help",
                "config --help",
                "bench --help",
                "chaos --help",
                "soak --help"
            })
    void shouldHelpWithEveryCommand(String arguments) {
        assertEquals(0, Dragoman.execute(arguments.split(" ")));
        assertTrue(
                out.toString(UTF_8)
                        .startsWith("Usage: dragoman "
                                + arguments.replace("--help", "").strip()),
                out.toString(UTF_8));
        assertEquals("", err.toString(UTF_8));
    }

    @Test
    void shouldPrintTheSettings() {
        assertEquals(0, Dragoman.execute("config"));
        assertEquals(DragomanConfig.markdownTable(), out.toString(UTF_8));
    }

    @Test
    void shouldNameAMissingFile() {
        Path missing = folder.resolve("missing");
        assertEquals(1, Dragoman.execute("run", "--config", missing.toString()));
        assertEquals("dragoman: " + missing + ": no such file", complaint());
        err.reset();
        assertEquals(1, Dragoman.execute("demo", "--once", "--file", missing.toString()));
        assertEquals("dragoman: " + missing + ": no such file", complaint());
    }

    @Test
    void shouldNameAFolderThatIsNoBundle() {
        assertEquals(1, Dragoman.execute("bundle", "inspect", folder.toString()));
        assertEquals(
                "dragoman: bundle " + folder + " cannot be used: bundle.json is missing: is this a model folder?",
                complaint());
        err.reset();
        assertEquals(1, Dragoman.execute("bundle", "verify", folder.toString()));
        assertTrue(complaint().contains("bundle.json is missing"));
    }

    @Test
    void shouldNameAnUnreadableManifest() throws IOException {
        file("bundle.json", "{\n\"format_version\": 1,\n");
        assertEquals(1, Dragoman.execute("bundle", "inspect", folder.toString()));
        assertTrue(complaint().startsWith("dragoman: bundle " + folder + " cannot be used: bundle.json: "));
    }

    @Test
    void shouldNeedBothLanguagesAndABundleForThem() {
        assertEquals(1, Dragoman.execute("align", "--from", "fr"));
        assertEquals("dragoman: --from and --to should be given together", complaint());
        err.reset();
        assertEquals(1, Dragoman.execute("align", "--from", "tlh", "--to", "../en"));
        assertEquals(
                "dragoman: no bundle translates tlh to ../en: `dragoman bundle list` shows which there are,"
                        + " --bundle names another folder",
                complaint());
    }

    @Test
    void shouldPutEveryFaultOfTheSettingsInOneLine() throws IOException {
        Path config = file("p", "bootstrap.servers=127.0.0.1:1\nbatch.max.rows=-1\nacks=all\n");
        assertEquals(1, Dragoman.execute("run", "--config", config.toString()));
        assertEquals(
                "dragoman: acks: unknown setting (a Kafka setting is written kafka.acks; `dragoman config` lists the"
                        + " others); Invalid value -1 for configuration batch.max.rows: Value must be at least 0",
                complaint());
    }

    @Test
    void shouldNameABrokerThatCannotBeReached() throws IOException {
        Path config = file(
                "p", "bootstrap.servers=127.0.0.1:1\nkafka.default.api.timeout.ms=400\nkafka.request.timeout.ms=300\n");
        for (String[] arguments : new String[][] {
            {"run", "--config", config.toString()}, {"topics", "create", "--config", config.toString()}
        }) {
            err.reset();
            assertEquals(1, Dragoman.execute(arguments));
            String complaint = lastLine(); // on a busy machine progress is told before it
            assertTrue(
                    complaint.startsWith("dragoman: the Kafka cluster at 127.0.0.1:1 does not answer as it should: "),
                    complaint);
            assertTrue(complaint.endsWith("; check bootstrap.servers and that the broker runs"), complaint);
        }
    }

    @Test
    void shouldSayWhatIsWrongWithAClientSetting() throws IOException {
        Path config = file("p", "bootstrap.servers=127.0.0.1:1\nkafka.default.api.timeout.ms=1000\n");
        assertEquals(1, Dragoman.execute("topics", "create", "--config", config.toString()));
        String complaint = lastLine();
        assertTrue(complaint.contains("default.api.timeout.ms"), complaint);
    }

    @Test
    void shouldSayHowASpoiledBundleIsMade() {
        assertEquals(1, Dragoman.execute("chaos", "--scenario", "model-faults"));
        assertEquals(
                "dragoman: model-faults needs --spoiled DIR, a bundle made by `bin/model-export spoil"
                        + " model-export/bundles/fr-en --out DIR`",
                complaint());
    }

    @Test
    void shouldNotTakeABrokerAwayWhereThereAreNoReplicas() {
        assertEquals(1, Dragoman.execute("chaos", "--brokers", "1", "--scenario", "kill-broker"));
        assertEquals(
                "dragoman: scenarios that take a broker away need --brokers 3: name others with --scenario",
                complaint());
    }

    @Test
    void shouldAskForACluster() {
        assertEquals(1, Dragoman.execute("topics", "create"));
        assertEquals("dragoman: which cluster? give --bootstrap-server HOST:PORT or --config FILE", complaint());
    }

    @Test
    void shouldRefusePortsAndCountsThatCannotBe() {
        assertEquals(1, Dragoman.execute("broker", "--port", "65536", "--data", folder.toString()));
        assertEquals("dragoman: --port should be 0 to 65535: was 65536", complaint());
        err.reset();
        assertEquals(1, Dragoman.execute("bench", "--sentences", "7"));
        assertEquals("dragoman: --sentences should be at least 8, --rounds and --seconds at least 1", complaint());
    }

    @Test
    void shouldPrintAStackTraceOnlyWhenAskedTo() {
        assertEquals(1, Dragoman.execute("--debug", "bundle", "inspect", folder.toString()));
        assertTrue(err.toString(UTF_8).contains("\tat io.dragoman.infer.Bundle.open("));
        err.reset();
        assertEquals(1, Dragoman.execute("bundle", "inspect", folder.toString(), "--debug"));
        assertTrue(err.toString(UTF_8).contains("\tat io.dragoman.infer.Bundle.open("));
        err.reset();
        assertEquals(1, Dragoman.execute("bundle", "inspect", folder.toString()));
        assertFalse(err.toString(UTF_8).contains("\tat "));
    }

    @Test
    void shouldReadPropertiesInUtf8() throws Exception {
        Path file = file("p", "# settings\n topic.prefix = été \nbundles=a,\\\n  b\n");
        assertEquals(Map.of("topic.prefix", "été", "bundles", "a,b"), PropertiesFile.read(file));
        assertEquals(Map.of(), PropertiesFile.readIfGiven(null));
        assertThrows(NoSuchFileException.class, () -> PropertiesFile.readIfGiven(folder.resolve("missing")));
    }

    @Test
    void shouldSayWhenAFileIsNoPropertiesFile() throws IOException {
        Path latin = folder.resolve("latin");
        Files.write(latin, new byte[] {'a', '=', (byte) 0xe9, '\n'});
        Path escape = file("escape", "a=\\uZZZZ\n");
        for (Path file : new Path[] {latin, escape}) {
            CommandException e = assertThrows(CommandException.class, () -> PropertiesFile.read(file));
            assertTrue(e.getMessage().startsWith(file + ": not a properties file in UTF-8: "), e.getMessage());
        }
    }

    @Test
    void shouldDeleteATree() throws IOException {
        Files.createDirectories(folder.resolve("a/b/c"));
        file("a/b/file", "x");
        Home.deleteTree(folder.resolve("a"));
        assertFalse(Files.exists(folder.resolve("a")));
        Home.deleteTree(folder.resolve("a"));
    }
}
