package io.dragoman.chaos;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.TopicDescription;

/** A cluster of brokers, each a process. Node ids start at 1. */
final class Brokers implements AutoCloseable {
    private static final int PATIENCE_SECONDS = 180;

    private final Family family;
    private final Path folder;
    private final List<Integer> ports;
    private final List<Integer> controllerPorts;
    private final List<Child> nodes = new ArrayList<>();
    private final Admin admin;

    private Brokers(Family family, Path folder, List<Integer> ports) {
        int count = ports.size() / 2;
        this.family = family;
        this.folder = folder;
        this.ports = ports.subList(0, count);
        this.controllerPorts = ports.subList(count, 2 * count);
        this.admin = Admin.create(Map.of(
                "bootstrap.servers", bootstrapServers(), "enable.metrics.push", "false", "request.timeout.ms", "5000"));
    }

    /** Returns once all of them serve. */
    static Brokers start(Family family, Path folder, int count)
            throws IOException, InterruptedException, ChaosException {
        Brokers brokers = new Brokers(family, folder, freePorts(2 * count));
        for (int node = 1; node <= count; node++) {
            brokers.nodes.add(brokers.launch(node));
        }
        for (Child node : brokers.nodes) {
            node.awaitLog("dragoman: broker at");
        }
        brokers.awaitInSync();
        return brokers;
    }

    /** Held open together, so that they differ. */
    static List<Integer> freePorts(int count) throws IOException {
        List<ServerSocket> sockets = new ArrayList<>();
        try {
            for (int i = 0; i < count; i++) {
                sockets.add(new ServerSocket(0, 1, InetAddress.getByAddress(new byte[] {127, 0, 0, 1})));
            }
            return sockets.stream().map(ServerSocket::getLocalPort).toList();
        } finally {
            for (ServerSocket socket : sockets) {
                socket.close();
            }
        }
    }

    private Child launch(int node) throws IOException, ChaosException {
        return family.start(
                "broker-" + node,
                List.of(
                        "broker",
                        "--port",
                        String.valueOf(ports.get(node - 1)),
                        "--data",
                        folder.resolve("broker-" + node).toString(),
                        "--node",
                        String.valueOf(node),
                        "--controller-ports",
                        controllerPorts.stream().map(String::valueOf).collect(Collectors.joining(","))));
    }

    String bootstrapServers() {
        return ports.stream().map(port -> "127.0.0.1:" + port).collect(Collectors.joining(","));
    }

    int count() {
        return ports.size();
    }

    Child node(int node) {
        return nodes.get(node - 1);
    }

    /** Starts a node that has ended, on its data; returns at once. */
    void restart(int node) throws IOException, ChaosException {
        nodes.set(node - 1, launch(node));
    }

    /** The node that coordinates a consumer group. */
    int coordinator(String group) throws InterruptedException, ChaosException {
        try {
            return admin.describeConsumerGroups(List.of(group))
                    .all()
                    .get(PATIENCE_SECONDS, TimeUnit.SECONDS)
                    .values()
                    .iterator()
                    .next()
                    .coordinator()
                    .id();
        } catch (ExecutionException | TimeoutException e) {
            throw new ChaosException("the group " + group + " should have a coordinator: " + e.getMessage(), e);
        }
    }

    /** Waits until every broker is there and every partition has all its replicas, so that the next fault finds it whole. */
    void awaitInSync() throws InterruptedException, ChaosException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!inSync()) {
            if (System.nanoTime() > end) {
                throw new ChaosException("the brokers should be in sync again within " + PATIENCE_SECONDS + " s");
            }
            TimeUnit.MILLISECONDS.sleep(200);
        }
    }

    private boolean inSync() throws InterruptedException {
        try {
            if (admin.describeCluster()
                            .nodes()
                            .get(PATIENCE_SECONDS, TimeUnit.SECONDS)
                            .size()
                    < count()) {
                return false;
            }
            Collection<String> topics = admin.listTopics(new ListTopicsOptions().listInternal(true))
                    .names()
                    .get(PATIENCE_SECONDS, TimeUnit.SECONDS);
            for (TopicDescription topic : admin.describeTopics(topics)
                    .allTopicNames()
                    .get(PATIENCE_SECONDS, TimeUnit.SECONDS)
                    .values()) {
                if (topic.partitions().stream()
                        .anyMatch(partition ->
                                partition.isr().size() < partition.replicas().size())) {
                    return false;
                }
            }
            return true;
        } catch (ExecutionException | TimeoutException e) {
            return false; // a broker that was asked has just gone
        }
    }

    @Override
    public void close() {
        admin.close(java.time.Duration.ZERO);
    }
}
