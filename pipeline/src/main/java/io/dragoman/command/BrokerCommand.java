package io.dragoman.command;

import io.dragoman.broker.EmbeddedBroker;
import java.nio.file.Path;
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

    @Override
    public Integer call() throws Exception {
        if (port < 0 || port > 65_535) {
            throw new CommandException("--port should be 0 to 65535: was " + port);
        }
        EmbeddedBroker broker;
        try (Progress progress = Progress.of("starting the broker")) {
            broker = EmbeddedBroker.start(data, port);
        }
        Runtime.getRuntime().addShutdownHook(new Thread(broker::close, "dragoman-shutdown"));
        System.out.println("dragoman: broker at " + broker.bootstrapServers() + ", serving until Ctrl-C");
        System.out.flush();
        new CountDownLatch(1).await();
        return 0;
    }
}
