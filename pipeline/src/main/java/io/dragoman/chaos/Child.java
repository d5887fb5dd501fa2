package io.dragoman.chaos;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A process of {@link Family}: a broker or an instance. The launcher replaces itself, so its id is the JVM's. */
final class Child {
    private static final Duration PATIENCE = Duration.ofMinutes(3);

    private final String name;
    private final Process process;
    private final Path log;

    Child(String name, Process process, Path log) {
        this.name = name;
        this.process = process;
        this.log = log;
    }

    String name() {
        return name;
    }

    long pid() {
        return process.pid();
    }

    boolean isAlive() {
        return process.isAlive();
    }

    /** Standard output and standard error. */
    String log() throws IOException {
        return new String(Files.readAllBytes(log), StandardCharsets.UTF_8);
    }

    void awaitLog(String text) throws IOException, InterruptedException, ChaosException {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!log().contains(text)) {
            if (!process.isAlive() || System.nanoTime() > end) {
                throw new ChaosException(name + " should say '" + text + "': said " + lastLine());
            }
            TimeUnit.MILLISECONDS.sleep(100);
        }
    }

    private String lastLine() throws IOException {
        return log().lines().reduce("nothing", (before, line) -> line);
    }

    /** {@code kill -9}; returns once it is gone. */
    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** {@code kill -TERM}; returns its exit code. */
    int terminate() throws InterruptedException, ChaosException {
        process.destroy();
        return await();
    }

    int await() throws InterruptedException, ChaosException {
        if (!process.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS)) {
            throw new ChaosException(name + " does not end");
        }
        return process.exitValue();
    }

    /** The process stands still, sockets open. */
    void pause() throws IOException, InterruptedException, ChaosException {
        signal("STOP");
    }

    void resume() throws IOException, InterruptedException, ChaosException {
        signal("CONT");
    }

    /** The shell's own kill: a program of that name is not everywhere. */
    private void signal(String signal) throws IOException, InterruptedException, ChaosException {
        run(List.of("bash", "-c", "kill -" + signal + " " + process.pid()));
    }

    /** From now on no file of it grows, as if its disk were full, and no disk has to be filled for it. */
    void fillDisk() throws IOException, InterruptedException, ChaosException {
        run(List.of("prlimit", "--pid", String.valueOf(process.pid()), "--fsize=0"));
    }

    private void run(List<String> command) throws IOException, InterruptedException, ChaosException {
        int code = new ProcessBuilder(command).inheritIO().start().waitFor();
        if (code != 0) {
            throw new ChaosException(String.join(" ", command) + " should work for " + name + ": ended with " + code);
        }
    }

    void destroy() {
        process.destroyForcibly();
    }

    void awaitEnd() {
        process.onExit().join();
    }
}
