package io.dragoman.command;

import io.dragoman.config.DragomanConfig;
import io.dragoman.metrics.Metric;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "config",
        description = "Prints every setting, or every metric, as a Markdown table.",
        mixinStandardHelpOptions = true)
final class ConfigCommand implements Callable<Integer> {
    @Option(names = "--metrics", description = "Print what an instance measures of itself in place of the settings.")
    private boolean metrics;

    @Override
    public Integer call() {
        System.out.print(metrics ? Metric.markdownTable() : DragomanConfig.markdownTable());
        return 0;
    }
}
