package io.dragoman.it;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** {@code bin/dragoman} as a process of its own, its output in files. */
final class DragomanProcess implements AutoCloseable {
    private final Process process;
    private final Path out;
    private final Path err;

    private DragomanProcess(Process process, Path out, Path err) {
        this.process = process;
        this.out = out;
        this.err = err;
    }

    static DragomanProcess start(Path folder, List<String> prefix, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(prefix);
        command.add(TestCluster.HOME.resolve("bin/dragoman").toString());
        command.addAll(List.of(arguments));
        Path out = Files.createTempFile(folder, "out", ".txt");
        Path err = Files.createTempFile(folder, "err", ".txt");
        Process process = new ProcessBuilder(command)
                .redirectOutput(out.toFile())
                .redirectError(err.toFile())
                .start();
        return new DragomanProcess(process, out, err);
    }

    static DragomanProcess start(Path folder, String... arguments) throws IOException {
        return start(folder, List.of(), arguments);
    }

    /** Gives it its input, whole. */
    void type(String input) throws IOException {
        try (OutputStream stdin = process.getOutputStream()) {
            stdin.write(input.getBytes(StandardCharsets.UTF_8));
        }
    }

    /** Its exit code; fails when it does not end. */
    int await() throws InterruptedException, IOException {
        return await(TestCluster.PATIENCE);
    }

    int await(Duration patience) throws InterruptedException, IOException {
        if (!process.waitFor(patience.toSeconds(), TimeUnit.SECONDS)) {
            close();
            throw new AssertionError("did not end: " + err());
        }
        return process.exitValue();
    }

    /** Waits until its output holds {@code text}. */
    void awaitOutput(String text) throws Exception {
        long end = System.nanoTime() + TestCluster.PATIENCE.toNanos();
        while (!out().contains(text)) {
            if (!process.isAlive() || System.nanoTime() > end) {
                throw new AssertionError("never said '" + text + "': " + out() + err());
            }
            TimeUnit.MILLISECONDS.sleep(50);
        }
    }

    /** {@code kill -9}. */
    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** {@code kill -TERM}. */
    void terminate() {
        process.destroy();
    }

    String out() throws IOException {
        return Files.readString(out);
    }

    String err() throws IOException {
        return Files.readString(err);
    }

    @Override
    public void close() throws InterruptedException {
        kill();
    }
}
