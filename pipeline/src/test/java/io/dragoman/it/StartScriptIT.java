package io.dragoman.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code bin/dragoman} and {@code bin/aot-cache} make of the Java and the files that there are. */
class StartScriptIT {
    @TempDir
    private Path home;

    private Path cache;

    private record Ended(int code, String out, String err) {}

    @BeforeEach
    void copyTheScripts() throws Exception {
        Files.createDirectories(home.resolve("bin"));
        for (String script : new String[] {"dragoman", "aot-cache"}) {
            Files.copy(
                    TestCluster.HOME.resolve("bin").resolve(script),
                    home.resolve("bin").resolve(script));
        }
        Path target = Files.createDirectories(home.resolve("pipeline/target"));
        Path jar = Files.createFile(target.resolve("dragoman-pipeline-0.1.0.jar"));
        Files.setLastModifiedTime(jar, FileTime.from(Instant.ofEpochSecond(2_000_000)));
        cache = target.resolve("dragoman.aot");
    }

    /** With a Java that says its version and what it was called with. */
    private Ended run(String script, int version, String... arguments) throws Exception {
        Path java = home.resolve("bin/java");
        Files.writeString(
                java,
                "#!/bin/sh\nif [ \"$1\" = -version ]; then echo 'openjdk version \"" + version
                        + ".0.1\"' >&2; else echo \"$@\"; fi\n");
        Files.setPosixFilePermissions(java, PosixFilePermissions.fromString("rwxr-xr-x"));
        ProcessBuilder builder = new ProcessBuilder();
        builder.command().add(home.resolve("bin").resolve(script).toString());
        builder.command().addAll(List.of(arguments));
        builder.environment().put("JAVA_HOME", home.toString());
        Path out = home.resolve("out.txt");
        Path err = home.resolve("err.txt");
        Process process =
                builder.redirectOutput(out.toFile()).redirectError(err.toFile()).start();
        assertTrue(process.waitFor(30, TimeUnit.SECONDS));
        return new Ended(
                process.exitValue(),
                Files.readString(out, StandardCharsets.UTF_8),
                Files.readString(err, StandardCharsets.UTF_8));
    }

    private void makeCache(long second) throws Exception {
        Files.createFile(cache);
        Files.setLastModifiedTime(cache, FileTime.from(Instant.ofEpochSecond(second)));
    }

    @Test
    void shouldStartWithTheCacheOfTheBuild() throws Exception {
        makeCache(3_000_000);
        Ended ended = run("dragoman", 25, "config");
        assertTrue(ended.out().contains("-XX:AOTCache=" + cache), ended.out());
        assertTrue(ended.out().contains("-Xlog:disable"), ended.out());
        assertEquals("", ended.err());
    }

    @Test
    void shouldSayThatTheCacheIsOlderThanTheBuild() throws Exception {
        makeCache(1_000_000);
        Ended ended = run("dragoman", 25, "config");
        assertFalse(ended.out().contains("AOTCache"), ended.out());
        assertTrue(ended.err().contains("older than the build and not used: run bin/aot-cache again"), ended.err());
    }

    @Test
    void shouldStartWithoutACacheThatTheJavaCannotRead() throws Exception {
        makeCache(3_000_000);
        Ended ended = run("dragoman", 17, "config");
        assertFalse(ended.out().contains("AOTCache"), ended.out());
        assertEquals("", ended.err());
    }

    @Test
    void shouldStartWithoutACacheWhereThereIsNone() throws Exception {
        Ended ended = run("dragoman", 25, "config");
        assertFalse(ended.out().contains("AOTCache"), ended.out());
        assertEquals(0, ended.code());
    }

    @Test
    void shouldMakeNoCacheWithAnOlderJavaOrAnUnknownArgument() throws Exception {
        Ended old = run("aot-cache", 17);
        assertEquals(1, old.code());
        assertEquals("aot-cache: Java 25 or newer is needed, this is 17: set JAVA_HOME to one\n", old.err());
        Ended unknown = run("aot-cache", 25, "--fast");
        assertEquals(2, unknown.code());
        assertEquals("aot-cache: unknown argument --fast, see --help\n", unknown.err());
    }

    @Test
    void shouldSayThatThePipelineLeftNoCache() throws Exception {
        Path golden = home.resolve("model-export/bundles/fr-en/golden.tsv");
        Files.createDirectories(golden.getParent());
        Files.writeString(golden, "# source\ttranslation\nOui.\tYes.\n");
        Ended ended = run("aot-cache", 25);
        assertEquals(1, ended.code());
        assertTrue(ended.err().endsWith("aot-cache: the JVM left no cache, see above\n"), ended.err());
        assertFalse(Files.exists(cache));
    }
}
