package io.dragoman.command;

import io.dragoman.broker.EmbeddedBroker;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "broker",
        description = "A Kafka broker on 127.0.0.1 for trying things out and for tests; serves until Ctrl-C and has its"
                + " records again when started on the same folder.",
        mixinStandardHelpOptions = true)
final class BrokerCommand implements Callable<Integer> {
    @Option(
            names = "--port",
            defaultValue = "9092",
            description = "Port to listen on, 0 for a free one (default: ${DEFAULT-VALUE}).")
    private int port;

    @Option(names = "--data", required = true, paramLabel = "DIR", description = "Folder for the broker's records.")
    private Path data = Path.of(".");

    @Option(
            names = "--node",
            paramLabel = "N",
            defaultValue = "1",
            description = "Which node of a cluster this is, 1 for the first (default: ${DEFAULT-VALUE}).")
    private int node;

    @Option(
            names = "--controller-ports",
            split = ",",
            paramLabel = "PORT",
            description =
                    "Makes this one of several brokers: where their controllers listen, in the order of the nodes;"
                            + " the same for all of them. Topics then have up to three replicas.")
    private List<Integer> controllerPorts = new ArrayList<>();

    @Override
    public Integer call() throws Exception {
        if (port < 0 || port > 65_535) {
            throw new CommandException("--port should be 0 to 65535: was " + port);
        }
        if (node < 1 || node > Math.max(1, controllerPorts.size())) {
            throw new CommandException("--node should be 1 to the number of --controller-ports ("
                    + controllerPorts.size() + "): was " + node);
        }
        EmbeddedBroker broker;
        try (Progress progress = Progress.of("starting the broker")) {
            broker = controllerPorts.isEmpty()
                    ? EmbeddedBroker.start(data, port)
                    : EmbeddedBroker.start(data, port, new EmbeddedBroker.Place(node, controllerPorts));
        }
        Runtime.getRuntime().addShutdownHook(new Thread(broker::close, "dragoman-shutdown"));
        System.out.println("dragoman: broker at " + broker.bootstrapServers() + ", serving until Ctrl-C");
        System.out.flush();
        new CountDownLatch(1).await();
        return 0;
    }
}
