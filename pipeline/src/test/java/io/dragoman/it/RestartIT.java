package io.dragoman.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.config.DragomanConfig;
import io.dragoman.config.TopicNames;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.CleanupMode;
import org.junit.jupiter.api.io.TempDir;

/** A pipeline process is killed while sentences wait and run; nothing is lost, doubled or out of order. */
class RestartIT {
    private static final int SENTENCES = 1500;

    @TempDir(cleanup = CleanupMode.NEVER)
    static Path folder;

    @Test
    void shouldPublishEverySentenceOnceAndInOrderWhenKilledTwiceInMidLoad() throws Exception {
        try (TestCluster cluster = new TestCluster(folder)) {
            Map<String, String> settings = cluster.settings(
                    "restart",
                    Map.of(
                            DragomanConfig.MODEL_BEAM_SIZE,
                            "2",
                            DragomanConfig.BATCH_MAX_ROWS,
                            "16",
                            "kafka.main.consumer.group.instance.id",
                            "restart-0"));
            Path config = written("restart.properties", settings);
            TopicNames topics = TestCluster.topics(settings);
            for (int i = 0; i < SENTENCES; i++) {
                cluster.sendSoon(topics.sentences(), i % 3, String.valueOf(i), "Voici la phrase numéro " + i + ".");
            }
            cluster.flush();

            int before = 0;
            for (int kill = 0; kill < 2; kill++) {
                int seen = before;
                try (DragomanProcess process = DragomanProcess.start(folder, "run", "--config", config.toString())) {
                    before = cluster.awaitMoreThan(topics.translations(), seen + 40);
                    process.kill();
                }
                assertTrue(before < SENTENCES, "it was done before it was killed: send more sentences");
            }
            try (DragomanProcess process = DragomanProcess.start(folder, "run", "--config", config.toString())) {
                assertOnceAndInOrder(cluster.read(topics.translations(), SENTENCES));
                assertOnceAndInOrder(cluster.read(topics.alignments(), SENTENCES));
                process.terminate();
                assertEquals(143, process.await(), process.err());
            }
        }
    }

    @Test
    void shouldLoseNothingWithAtLeastOnceAndTellItsMetrics() throws Exception {
        int sentences = 900; // more than are done when the first instance is killed
        int port = freePort();
        try (TestCluster cluster = new TestCluster(folder.resolve("at-least-once"))) {
            Map<String, String> settings = cluster.settings(
                    "at-least-once",
                    Map.of(
                            DragomanConfig.PROCESSING_GUARANTEE,
                            "at_least_once",
                            DragomanConfig.MODEL_BEAM_SIZE,
                            "1",
                            DragomanConfig.METRICS_PORT,
                            String.valueOf(port),
                            "kafka.main.consumer.group.instance.id",
                            "at-least-once-0"));
            Path config = written("at-least-once.properties", settings);
            TopicNames topics = TestCluster.topics(settings);
            for (int i = 0; i < sentences; i++) {
                cluster.sendSoon(topics.sentences(), i % 3, String.valueOf(i), "Voici la phrase numéro " + i + ".");
            }
            cluster.flush();
            try (DragomanProcess process = DragomanProcess.start(folder, "run", "--config", config.toString())) {
                cluster.awaitMoreThan(topics.translations(), 10);
                process.kill();
            }
            try (DragomanProcess process = DragomanProcess.start(folder, "run", "--config", config.toString())) {
                for (String topic : List.of(topics.translations(), topics.alignments())) {
                    Map<Integer, List<Integer>> firsts = cluster.readKeys(topic, sentences).stream()
                            .collect(Collectors.groupingBy(
                                    ConsumerRecord::partition,
                                    Collectors.mapping(
                                            record -> Integer.parseInt(TestCluster.text(record.key())),
                                            Collectors.collectingAndThen(Collectors.toList(), keys -> keys.stream()
                                                    .distinct()
                                                    .toList()))));
                    assertEquals(
                            sentences,
                            firsts.values().stream().mapToInt(List::size).sum());
                    firsts.values()
                            .forEach(keys -> assertEquals(keys.stream().sorted().toList(), keys));
                }
                process.awaitOutput(", reading "); // the results could all be of the one that was killed
                String metrics = HttpClient.newHttpClient()
                        .send(
                                HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/metrics"))
                                        .build(),
                                HttpResponse.BodyHandlers.ofString())
                        .body();
                assertTrue(metrics.contains("\ndragoman_healthy 1.0\n"), metrics);
                assertTrue(metrics.contains("\ndragoman_batches_total{model="), metrics);
                assertTrue(metrics.contains("kafka_consumer_fetch_manager_records_lag"), metrics);
                process.terminate();
                assertEquals(143, process.await(), process.err());
            }
        }
    }

    private static Path written(String name, Map<String, String> settings) throws IOException {
        return Files.write(
                folder.resolve(name),
                settings.entrySet().stream()
                        .map(entry -> entry.getKey() + "=" + entry.getValue())
                        .toList());
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    /** Results stand in the partition of their sentences, in the order of their sentences. */
    private static void assertOnceAndInOrder(List<ConsumerRecord<byte[], byte[]>> records) {
        Map<Integer, List<Integer>> byPartition = records.stream()
                .collect(Collectors.groupingBy(
                        ConsumerRecord::partition,
                        Collectors.mapping(
                                record -> Integer.parseInt(TestCluster.text(record.key())), Collectors.toList())));
        for (int partition = 0; partition < 3; partition++) {
            int first = partition;
            assertEquals(
                    IntStream.range(0, SENTENCES)
                            .filter(i -> i % 3 == first)
                            .boxed()
                            .toList(),
                    byPartition.get(partition));
        }
    }
}
