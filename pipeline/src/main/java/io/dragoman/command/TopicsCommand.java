package io.dragoman.command;

import io.dragoman.config.DragomanConfig;
import io.dragoman.topology.Topics;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "topics",
        description = "The topics of a deployment.",
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "COMMAND",
        subcommands = TopicsCommand.Create.class)
final class TopicsCommand {

    @Command(name = "create", description = "Makes the topics that are missing.", mixinStandardHelpOptions = true)
    static final class Create implements Callable<Integer> {
        @Option(names = "--config", paramLabel = "FILE", description = "Settings, a properties file.")
        private @Nullable Path config;

        @Option(names = "--bootstrap-server", paramLabel = "HOST:PORT", description = "The cluster.")
        private @Nullable String bootstrapServer;

        @Option(names = "--partitions", paramLabel = "N", description = "Partitions of each topic (default: 6).")
        private @Nullable Integer partitions;

        @Override
        public Integer call() throws Exception {
            Map<String, String> settings = new HashMap<>(PropertiesFile.readIfGiven(config));
            if (bootstrapServer != null) {
                settings.put(DragomanConfig.BOOTSTRAP_SERVERS, bootstrapServer);
            }
            if (partitions != null) {
                settings.put(DragomanConfig.TOPIC_PARTITIONS, String.valueOf(partitions));
            }
            if (!settings.containsKey(DragomanConfig.BOOTSTRAP_SERVERS)) {
                throw new CommandException("which cluster? give --bootstrap-server HOST:PORT or --config FILE");
            }
            DragomanConfig checked = DragomanConfig.of(settings);
            List<String> made;
            try (Progress progress = Progress.of("making topics")) {
                made = Topics.create(checked);
            }
            for (String name : checked.topics().all()) {
                System.out.println(name + (made.contains(name) ? ": created" : ": was there"));
            }
            return 0;
        }
    }
}
