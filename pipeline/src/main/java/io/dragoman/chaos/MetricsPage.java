package io.dragoman.chaos;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.stream.DoubleStream;

/** What an instance tells of itself, as Prometheus reads it. */
record MetricsPage(String text) {
    private static final Duration PATIENCE = Duration.ofSeconds(20);

    static MetricsPage read(HttpClient http, int port) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/metrics"))
                .timeout(PATIENCE)
                .build();
        return new MetricsPage(
                http.send(request, HttpResponse.BodyHandlers.ofString()).body());
    }

    /** The values of all series that start so, a name alone or with its first labels; without those that are no number. */
    private DoubleStream values(String start) {
        return text.lines()
                .filter(line ->
                        line.startsWith(start + "{") || line.startsWith(start + " ") || line.startsWith(start + ","))
                .mapToDouble(line -> Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1)))
                .filter(value -> !Double.isNaN(value));
    }

    /** 0 when there is none. */
    double sum(String start) {
        return values(start).sum();
    }

    /** 0 when there is none. */
    double max(String start) {
        return values(start).max().orElse(0);
    }
}
