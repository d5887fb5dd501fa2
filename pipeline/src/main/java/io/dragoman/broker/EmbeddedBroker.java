package io.dragoman.broker;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.metadata.storage.Formatter;

/**
 * One Kafka node, broker and controller, inside this JVM and on the loopback interface only; alone, or one of a few that
 * make a cluster.
 *
 * <p>Made of Kafka classes that are not public API: nothing else in Dragoman may use them. Ownership: whoever starts it
 * closes it; the data folder stays the caller's, and a broker started on it again has its records.
 */
public final class EmbeddedBroker implements AutoCloseable {
    private static final String LOOPBACK = "127.0.0.1";

    private final KafkaRaftServer server;
    private final int port;

    private EmbeddedBroker(KafkaRaftServer server, int port) {
        this.server = server;
        this.port = port;
    }

    /**
     * A node's place in its cluster. All nodes of a cluster have the same list.
     *
     * @param node 1 for the first
     * @param controllerPorts where the nodes' controllers listen, the first node's first
     */
    public record Place(int node, List<Integer> controllerPorts) {
        public Place {
            controllerPorts = List.copyOf(controllerPorts);
            if (node < 1 || node > controllerPorts.size()) {
                throw new IllegalArgumentException(
                        "the node should be 1 to " + controllerPorts.size() + ", one for each controller: was " + node);
            }
        }

        private int controllerPort() {
            return controllerPorts.get(node - 1);
        }

        private String voters() {
            return IntStream.rangeClosed(1, controllerPorts.size())
                    .mapToObj(id -> id + "@" + LOOPBACK + ":" + controllerPorts.get(id - 1))
                    .collect(Collectors.joining(","));
        }

        /** The same for all nodes, so that nobody has to tell them. */
        private Uuid cluster() {
            if (controllerPorts.size() == 1) {
                return Uuid.randomUuid();
            }
            UUID name = UUID.nameUUIDFromBytes(voters().getBytes(StandardCharsets.UTF_8));
            return new Uuid(name.getMostSignificantBits(), name.getLeastSignificantBits());
        }
    }

    /**
     * Starts a node of its own; takes about two seconds.
     *
     * @param data its folder, made and formatted when it is new
     * @param port 0 takes a free one
     * @throws IOException when the folder or the port cannot be used
     */
    public static EmbeddedBroker start(Path data, int port) throws IOException {
        return start(data, port, new Place(1, List.of(freePort())));
    }

    /** The same for a node of a cluster; waits for as many of the others as make a majority. */
    public static EmbeddedBroker start(Path data, int port, Place place) throws IOException {
        Files.createDirectories(data);
        int brokerPort = port == 0 ? freePort() : requireFree(port);
        Map<String, String> settings = settings(data, brokerPort, place);
        try {
            if (!Files.exists(data.resolve("meta.properties"))) {
                format(data, place);
            }
            KafkaRaftServer server = new KafkaRaftServer(new KafkaConfig(settings, false), Time.SYSTEM);
            server.startup();
            return new EmbeddedBroker(server, brokerPort);
        } catch (IOException e) {
            throw e;
        } catch (Exception e) {
            throw new IOException("the broker cannot start in " + data + ": " + e.getMessage(), e);
        }
    }

    private static void format(Path data, Place place) throws Exception {
        new Formatter()
                .setPrintStream(new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8))
                .setNodeId(place.node())
                .setClusterId(place.cluster().toString())
                .addDirectory(data.toString())
                .setMetadataLogDirectory(data.toString())
                .setControllerListenerName("CONTROLLER")
                .run();
    }

    private static Map<String, String> settings(Path data, int brokerPort, Place place) {
        int nodes = place.controllerPorts().size();
        String replicas = String.valueOf(Math.min(3, nodes));
        String inSync = String.valueOf(Math.max(1, Math.min(3, nodes) - 1));
        Map<String, String> settings = new HashMap<>();
        settings.put("process.roles", "broker,controller");
        settings.put("node.id", String.valueOf(place.node()));
        settings.put("controller.quorum.voters", place.voters());
        settings.put("controller.listener.names", "CONTROLLER");
        settings.put(
                "listeners",
                "PLAINTEXT://" + LOOPBACK + ":" + brokerPort + ",CONTROLLER://" + LOOPBACK + ":"
                        + place.controllerPort());
        settings.put("advertised.listeners", "PLAINTEXT://" + LOOPBACK + ":" + brokerPort);
        settings.put("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT");
        settings.put("log.dirs", data.toString());
        settings.put("metadata.log.dir", data.toString());
        settings.put("auto.create.topics.enable", "false");
        settings.put("default.replication.factor", replicas);
        settings.put("min.insync.replicas", inSync);
        settings.put("offsets.topic.replication.factor", replicas);
        settings.put("offsets.topic.num.partitions", "4");
        settings.put("transaction.state.log.replication.factor", replicas);
        settings.put("transaction.state.log.min.isr", inSync);
        settings.put("transaction.state.log.num.partitions", "4");
        settings.put("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500");
        settings.put("share.coordinator.state.topic.replication.factor", replicas);
        settings.put("share.coordinator.state.topic.min.isr", inSync);
        // Without it the first of two stream threads may be given all at once, and hear of the second with its next
        // heartbeat, three seconds later.
        settings.put("group.initial.rebalance.delay.ms", "100");
        settings.put("num.network.threads", "2");
        settings.put("num.io.threads", "4");
        settings.put("log.cleaner.enable", "true");
        settings.put("log.cleaner.dedupe.buffer.size", "8388608");
        return settings;
    }

    private static int freePort() throws IOException {
        return requireFree(0);
    }

    private static int requireFree(int port) throws IOException {
        try (ServerSocket socket = new ServerSocket(port, 1, InetAddress.getByAddress(new byte[] {127, 0, 0, 1}))) {
            return socket.getLocalPort();
        } catch (IOException e) {
            throw new IOException(
                    "port " + port + " on " + LOOPBACK + " cannot be used: " + e.getMessage()
                            + "; choose another with --port",
                    e);
        }
    }

    /** What clients connect to, {@code host:port}. */
    public String bootstrapServers() {
        return LOOPBACK + ":" + port;
    }

    /** Stops the node, about half a second. */
    @Override
    public void close() {
        server.shutdown();
        server.awaitShutdown();
    }
}
