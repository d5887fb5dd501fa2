package io.dragoman.command;

import java.time.Duration;
import java.util.function.Supplier;

/**
 * Says on standard error what is going on once it takes longer than two seconds, and again every two seconds.
 * Ownership: close it to fall silent.
 */
final class Progress implements AutoCloseable {
    private static final Duration QUIET = Duration.ofSeconds(2);

    private final Thread thread;

    private Progress(Thread thread) {
        this.thread = thread;
    }

    static Progress of(String what) {
        return of(() -> what);
    }

    static Progress of(Supplier<String> what) {
        Thread thread = new Thread(
                () -> {
                    long start = System.nanoTime();
                    try {
                        while (true) {
                            Thread.sleep(QUIET.toMillis());
                            long seconds = (System.nanoTime() - start) / 1_000_000_000;
                            System.err.println("dragoman: " + what.get() + " (" + seconds + " s)");
                        }
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                    }
                },
                "dragoman-progress");
        thread.setDaemon(true);
        thread.start();
        return new Progress(thread);
    }

    @Override
    public void close() {
        thread.interrupt();
        try {
            thread.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
