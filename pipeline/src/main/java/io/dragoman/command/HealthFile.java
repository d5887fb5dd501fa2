package io.dragoman.command;

import io.dragoman.topology.Pipeline;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** Tells a container's health check how the pipeline is: a file that is there, and fresh, while it is healthy. */
final class HealthFile implements AutoCloseable {
    private static final Duration INTERVAL = Duration.ofSeconds(5);

    private final @Nullable Path file;
    private final CountDownLatch closed = new CountDownLatch(1);

    private HealthFile(@Nullable Path file) {
        this.file = file;
    }

    /** Keeps {@code file} until closed; does nothing without one. */
    static HealthFile keep(@Nullable Path file, Pipeline pipeline) {
        HealthFile health = new HealthFile(file);
        if (file != null) {
            Thread thread = new Thread(() -> health.renew(file, pipeline), "dragoman-health");
            thread.setDaemon(true);
            thread.start();
        }
        return health;
    }

    private void renew(Path path, Pipeline pipeline) {
        try {
            do {
                if (pipeline.isHealthy()) {
                    Files.writeString(path, Instant.now() + " " + pipeline.state() + "\n");
                } else {
                    Files.deleteIfExists(path);
                }
            } while (!closed.await(INTERVAL.toMillis(), TimeUnit.MILLISECONDS));
        } catch (IOException e) {
            throw new UncheckedIOException("the health file " + path + " cannot be written", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() throws IOException {
        closed.countDown();
        if (file != null) {
            Files.deleteIfExists(file);
        }
    }
}
