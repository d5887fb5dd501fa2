package io.dragoman.command;

import java.io.IOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Lines in, replies out in the order of the lines, with a bound on how many are under way. */
final class Conversation {
    /** Lines sent and not yet answered, at most. */
    private static final int UNDER_WAY = 20_000;

    private static final Duration PATIENCE = Duration.ofSeconds(90);

    /** Where lines come from; null at the end. */
    interface Lines {
        byte @Nullable [] next() throws IOException;
    }

    /** Takes line {@code number} (0-based) and what became of it. */
    interface Answer {
        void accept(long number, byte[] line, Reply reply) throws IOException, CommandException;
    }

    private final TranslationClient client;
    private final Supplier<String> whyNothing;
    private final Semaphore room = new Semaphore(UNDER_WAY);
    private final Map<Long, byte[]> lines = new java.util.concurrent.ConcurrentHashMap<>();
    private final AtomicLong sent = new AtomicLong();
    private final AtomicReference<@Nullable Exception> failure = new AtomicReference<>();
    private volatile boolean allSent;

    /** @param whyNothing what to tell when no reply comes */
    Conversation(TranslationClient client, Supplier<String> whyNothing) {
        this.client = client;
        this.whyNothing = whyNothing;
    }

    /** Returns once every line is answered. */
    void run(Lines from, Answer to) throws IOException, CommandException, InterruptedException {
        Thread sender = new Thread(() -> send(from), "dragoman-sender");
        sender.setDaemon(true);
        sender.start();
        Map<Long, Reply> early = new HashMap<>();
        AtomicLong answered = new AtomicLong();
        long lastReply = System.nanoTime();
        try (Progress progress = Progress.of(() -> answered.get() + " of " + sent.get() + " lines translated")) {
            while (!allSent || answered.get() < sent.get()) {
                Map<Long, Reply> replies = client.poll(Duration.ofMillis(100));
                early.putAll(replies);
                for (Reply next = early.remove(answered.get()); next != null; next = early.remove(answered.get())) {
                    long number = answered.getAndIncrement();
                    to.accept(number, Objects.requireNonNull(lines.remove(number)), next);
                    room.release();
                }
                if (!replies.isEmpty() || answered.get() == sent.get()) {
                    lastReply = System.nanoTime();
                } else if (System.nanoTime() - lastReply > PATIENCE.toNanos()) {
                    throw new CommandException("no result for " + PATIENCE.toSeconds() + " s: " + whyNothing.get());
                }
                rethrow();
            }
        }
        rethrow();
    }

    private void rethrow() throws IOException, CommandException {
        Exception e = failure.get();
        if (e instanceof IOException io) {
            throw io;
        }
        if (e != null) {
            throw new CommandException(String.valueOf(e.getMessage()), e);
        }
    }

    private void send(Lines from) {
        try {
            for (byte[] line = from.next(); line != null; line = from.next()) {
                room.acquire();
                lines.put(sent.get(), line);
                client.send(sent.get(), line);
                sent.incrementAndGet();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (IOException | CommandException | RuntimeException e) {
            failure.set(e);
        } finally {
            allSent = true;
        }
    }
}
