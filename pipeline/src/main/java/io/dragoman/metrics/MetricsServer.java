package io.dragoman.metrics;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/**
 * Serves {@code /metrics} for Prometheus and the three probes of Kubernetes: {@code /started} once the instance has its
 * first assignment, {@code /ready} while it translates, {@code /live} until it has stopped by a fault. A probe answers 200
 * or 503 with one line. Read only, no text of any sentence in it.
 */
public final class MetricsServer implements AutoCloseable {
    /** What it tells of; asked at each request. */
    public record Told(
            Supplier<String> metrics, BooleanSupplier started, BooleanSupplier ready, BooleanSupplier live) {}

    private final HttpServer server;
    private final ExecutorService thread;

    private MetricsServer(HttpServer server, ExecutorService thread) {
        this.server = server;
        this.thread = thread;
    }

    /**
     * Starts it.
     *
     * @param port 0 for any free one
     * @throws IOException when it cannot listen there; the message names host and port
     */
    public static MetricsServer start(String host, int port, Told told) throws IOException {
        HttpServer server;
        try {
            server = HttpServer.create(new InetSocketAddress(host, port), 16);
        } catch (IOException | RuntimeException e) {
            throw new IOException(
                    "the metrics cannot be served on " + host + ":" + port + ": " + e.getMessage()
                            + "; choose another metrics.port or metrics.host",
                    e);
        }
        ExecutorService thread = Executors.newSingleThreadExecutor(work -> {
            Thread made = new Thread(work, "dragoman-metrics");
            made.setDaemon(true);
            return made;
        });
        server.setExecutor(thread);
        server.createContext(
                "/metrics",
                exchange -> answer(
                        exchange,
                        "/metrics",
                        200,
                        "text/plain; version=0.0.4; charset=utf-8",
                        told.metrics().get()));
        probe(server, "/started", told.started());
        probe(server, "/ready", told.ready());
        probe(server, "/live", told.live());
        server.start();
        return new MetricsServer(server, thread);
    }

    public int port() {
        return server.getAddress().getPort();
    }

    private static void probe(HttpServer server, String path, BooleanSupplier state) {
        server.createContext(path, exchange -> {
            boolean good = state.getAsBoolean();
            answer(exchange, path, good ? 200 : 503, "text/plain; charset=utf-8", (good ? "yes" : "no") + "\n");
        });
    }

    private static void answer(HttpExchange exchange, String path, int status, String type, String body)
            throws IOException {
        try (exchange) {
            boolean known = exchange.getRequestURI().getPath().equals(path);
            boolean get = exchange.getRequestMethod().matches("GET|HEAD");
            int code = !known ? 404 : !get ? 405 : status;
            byte[] bytes = (code == status ? body : "only GET of /metrics, /started, /ready and /live\n")
                    .getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", type);
            boolean head = exchange.getRequestMethod().equals("HEAD");
            exchange.sendResponseHeaders(code, head ? -1 : bytes.length);
            if (!head) {
                exchange.getResponseBody().write(bytes);
            }
        }
    }

    @Override
    public void close() {
        server.stop(0);
        thread.shutdownNow();
    }
}
