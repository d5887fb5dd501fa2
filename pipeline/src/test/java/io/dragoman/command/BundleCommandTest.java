package io.dragoman.command;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.infer.TinyBundles;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Bundles listed, inspected, verified, imported and aligned with, in a home of their own. */
class BundleCommandTest {
    private final String realHome = System.getProperty("dragoman.home");
    private final PrintStream realOut = System.out;
    private final PrintStream realErr = System.err;
    private final InputStream realIn = System.in;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteArrayOutputStream err = new ByteArrayOutputStream();

    @TempDir
    Path home;

    private Path bundles;

    @BeforeEach
    void moveIn() {
        System.setProperty("dragoman.home", home.toString());
        System.setOut(new PrintStream(out, true, UTF_8));
        System.setErr(new PrintStream(err, true, UTF_8));
        bundles = home.resolve("model-export/bundles");
    }

    @AfterEach
    void moveOut() {
        System.setOut(realOut);
        System.setErr(realErr);
        System.setIn(realIn);
        if (realHome == null) {
            System.clearProperty("dragoman.home");
        } else {
            System.setProperty("dragoman.home", realHome);
        }
    }

    private int run(String... arguments) {
        out.reset();
        err.reset();
        return Dragoman.execute(arguments);
    }

    private String out() {
        return out.toString(UTF_8);
    }

    /** On a busy machine progress is told before it. */
    private String complaint() {
        return err.toString(UTF_8).lines().reduce("", (before, line) -> line);
    }

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
        }
    }

    private static String attending() {
        return TinyBundles.folder("attending").toString();
    }

    @Test
    void shouldImportABundleToWhereItsLanguagesFindIt() throws IOException {
        assertEquals(0, run("bundle", "import", attending()), err::toString);
        assertEquals(7, out().lines().filter(line -> line.startsWith("ok ")).count(), out());
        assertTrue(
                out().endsWith("imported attending 0.0.1 to " + bundles.resolve("fr-en") + System.lineSeparator()
                        + "use it with --from fr --to en" + System.lineSeparator()),
                out());
        assertEquals(List.of("fr-en"), names(bundles));
        assertEquals(names(TinyBundles.folder("attending")), names(bundles.resolve("fr-en")));
        assertEquals(0, run("bundle", "list"));
        assertEquals("fr-en\tattending 0.0.1, fr to en, S1" + System.lineSeparator(), out());
        System.setIn(new ByteArrayInputStream("le chat noir\tthe black cat\nle chat\tle chat\n".getBytes(UTF_8)));
        assertEquals(0, run("align", "--from", "fr", "--to", "en"), err::toString);
        assertEquals(2, out().lines().count());
        assertTrue(out().lines().allMatch(line -> line.matches("(\\d+-\\d+( \\d+-\\d+)*)?")), out());
    }

    @Test
    void shouldImportUnderAnotherNameAndToAnotherFolder() throws IOException {
        assertEquals(0, run("bundle", "import", attending(), "--name", "old.fr-en"), err::toString);
        assertEquals(List.of("old.fr-en"), names(bundles));
        assertTrue(out().strip().endsWith("use it with --bundle old.fr-en"), out());
        Path elsewhere = home.resolve("a/b");
        assertEquals(0, run("bundle", "import", attending(), "--to", elsewhere.toString()), err::toString);
        assertEquals(List.of("fr-en"), names(elsewhere));
        assertTrue(out().strip().endsWith("use it with --bundle " + elsewhere.resolve("fr-en")), out());
        assertEquals(1, run("bundle", "import", attending(), "--name", "../fr-en"));
        assertEquals(
                "dragoman: a bundle's name should be letters, digits, '_', '.' and '-': was ../fr-en; give another with"
                        + " --name",
                complaint());
    }

    @Test
    void shouldReplaceABundleOnlyWhenForced() throws IOException {
        assertEquals(0, run("bundle", "import", attending()), err::toString);
        String blind = TinyBundles.folder("blind").toString();
        assertEquals(1, run("bundle", "import", blind));
        assertEquals(
                "dragoman: " + bundles.resolve("fr-en") + " exists: give --force to replace it, or another name with"
                        + " --name",
                complaint());
        assertTrue(Files.exists(bundles.resolve("fr-en/target_tokenizer.json")), "the first is still there");
        assertEquals(0, run("bundle", "import", blind, "--force"), err::toString);
        assertEquals(names(TinyBundles.folder("blind")), names(bundles.resolve("fr-en")));
        assertEquals(List.of("fr-en"), names(bundles));
        assertEquals(0, run("bundle", "import", bundles.resolve("fr-en").toString(), "--force"), "onto itself");
        assertEquals(names(TinyBundles.folder("blind")), names(bundles.resolve("fr-en")));
    }

    @Test
    void shouldImportNothingOfABundleThatIsNotSound() throws IOException {
        Path spoilt = TinyBundles.copy("attending", home.resolve("spoilt"));
        Files.delete(spoilt.resolve("golden.tsv"));
        Files.writeString(spoilt.resolve("target_tokenizer.json"), "{}");
        assertEquals(1, run("bundle", "import", spoilt.toString()));
        assertEquals(
                "dragoman: bundle " + spoilt
                        + " cannot be used: golden.tsv is missing; target_tokenizer.json should have"
                        + " 2080 bytes: has 2 (truncated or replaced?); " + spoilt.resolve("target_tokenizer.json")
                        + ": should have a vocabulary at model.vocab; export it again or get a whole copy",
                complaint());
        assertFalse(Files.exists(bundles));
        assertEquals(1, run("bundle", "import", home.resolve("nowhere").toString()));
        assertTrue(complaint().contains("bundle.json is missing: is this a model folder?"), complaint());
    }

    @Test
    void shouldPutABundleBackWhoseReplacementFailed() throws IOException {
        Path room = Files.createDirectories(home.resolve(".fr-en-1"));
        Files.writeString(Files.createDirectories(room.resolve("old")).resolve("bundle.json"), "old");
        Files.createDirectories(room.resolve("new"));
        Path target = home.resolve("fr-en");
        BundleImportCommand.cleanUp(room, target);
        assertEquals("old", Files.readString(target.resolve("bundle.json")));
        assertFalse(Files.exists(room));
        Files.writeString(Files.createDirectories(room.resolve("old")).resolve("bundle.json"), "older");
        BundleImportCommand.cleanUp(room, target);
        assertEquals("old", Files.readString(target.resolve("bundle.json")));
        assertFalse(Files.exists(room));
    }

    @Test
    void shouldLeaveWhatTheManifestDoesNotList() throws IOException {
        Path extended = TinyBundles.copy("blind", home.resolve("extended"));
        Files.writeString(extended.resolve("notes.txt"), "of no interest");
        assertEquals(0, run("bundle", "import", extended.toString()), err::toString);
        assertEquals(names(TinyBundles.folder("blind")), names(bundles.resolve("fr-en")));
    }

    @Test
    void shouldSayWhereABundleHasNoAttention() throws IOException {
        TinyBundles.copy("blind", bundles.resolve("fr-en"));
        assertEquals(0, run("bundle", "list"));
        assertEquals("fr-en\tblind 0.0.1, fr to en, S1, no alignments" + System.lineSeparator(), out());
        assertEquals(0, run("bundle", "inspect", "fr-en"));
        assertTrue(out().contains("attention        none: no alignments are published"), out());
        assertFalse(out().contains("links"), out());
        assertEquals(0, run("bundle", "verify", "fr-en"), err::toString);
        assertTrue(out().contains("rows sum to 1, nothing on padding: no attention is published"), out());
        assertEquals(1, run("align", "--from", "fr", "--to", "en"));
        assertEquals(
                "dragoman: the model blind has no attention to align with: name another with --bundle (`dragoman bundle"
                        + " list` shows which there are)",
                complaint());
    }

    @Test
    void shouldTellWhereAttentionIsReadAndHowLinksAreChosen() {
        assertEquals(0, run("bundle", "inspect", attending()));
        assertTrue(out().contains("attention        layer 0, heads [0], shift 1"), out());
        assertTrue(out().contains("links            end kept, max, argmax"), out());
    }
}
