package io.dragoman.chaos;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The processes that a run starts, all by Dragoman's launcher; none outlives it. Each start has a log of its own,
 * {@code NAME.1.log} for the first of a name.
 *
 * <p>Threading: {@link #close} may be called by a shutdown hook at any time; nothing can be started after it.
 */
final class Family implements AutoCloseable {
    private final Path launcher;
    private final Path logs;
    private final List<Child> children = new ArrayList<>();
    private boolean closed;

    Family(Path launcher, Path logs) {
        this.launcher = launcher;
        this.logs = logs;
    }

    synchronized Child start(String name, List<String> arguments) throws IOException, ChaosException {
        if (closed) {
            throw new ChaosException("interrupted");
        }
        long before =
                children.stream().filter(child -> child.name().equals(name)).count();
        List<String> command = new ArrayList<>(List.of(launcher.toString()));
        command.addAll(arguments);
        Path log = logs.resolve(name + "." + (before + 1) + ".log");
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
        // Many short lives on few cores: compiling thoroughly would cost more than it gives.
        builder.environment()
                .merge("DRAGOMAN_JAVA_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", (a, b) -> a + " " + b);
        Child child = new Child(name, builder.start(), log);
        children.add(child);
        return child;
    }

    @Override
    public synchronized void close() {
        closed = true;
        children.forEach(Child::destroy);
        children.forEach(Child::awaitEnd);
    }
}
