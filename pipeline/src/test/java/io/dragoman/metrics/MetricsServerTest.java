package io.dragoman.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class MetricsServerTest {
    private final AtomicBoolean started = new AtomicBoolean();
    private final AtomicBoolean ready = new AtomicBoolean();
    private final AtomicBoolean live = new AtomicBoolean(true);
    private MetricsServer server;

    @BeforeEach
    void start() throws IOException {
        server = MetricsServer.start(
                "127.0.0.1",
                0,
                new MetricsServer.Told(() -> "dragoman_healthy 1.0\n", started::get, ready::get, live::get));
    }

    @AfterEach
    void stop() {
        server.close();
    }

    private HttpResponse<String> ask(String method, String path) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.port() + path))
                .method(method, HttpRequest.BodyPublishers.noBody())
                .build();
        return HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
    }

    @Test
    void shouldServeTheMetrics() throws Exception {
        HttpResponse<String> answer = ask("GET", "/metrics");
        assertEquals(200, answer.statusCode());
        assertEquals("dragoman_healthy 1.0\n", answer.body());
        assertTrue(answer.headers().firstValue("Content-Type").orElseThrow().startsWith("text/plain"));
        assertEquals("", ask("HEAD", "/metrics").body());
    }

    @Test
    void shouldAnswerTheProbesAsThingsAre() throws Exception {
        assertEquals(503, ask("GET", "/started").statusCode());
        assertEquals(503, ask("GET", "/ready").statusCode());
        assertEquals(200, ask("GET", "/live").statusCode());
        started.set(true);
        ready.set(true);
        live.set(false);
        assertEquals("yes\n", ask("GET", "/started").body());
        assertEquals(200, ask("GET", "/ready").statusCode());
        assertEquals("no\n", ask("GET", "/live").body());
    }

    @ParameterizedTest
    @ValueSource(strings = {"/", "/metrics/other", "/livelier", "/..%2f..%2fetc/passwd"})
    void shouldKnowNothingElse(String path) throws Exception {
        assertEquals(404, ask("GET", path).statusCode());
    }

    @ParameterizedTest
    @CsvSource({"POST", "DELETE"})
    void shouldTakeNothing(String method) throws Exception {
        assertEquals(405, ask(method, "/metrics").statusCode());
    }

    @Test
    void shouldSayWhereItCannotListen() throws IOException {
        try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            IOException e = assertThrows(
                    IOException.class,
                    () -> MetricsServer.start(
                            "127.0.0.1",
                            taken.getLocalPort(),
                            new MetricsServer.Told(() -> "", () -> true, () -> true, () -> true)));
            assertTrue(e.getMessage().startsWith("the metrics cannot be served on 127.0.0.1:"), e.getMessage());
        }
    }
}
