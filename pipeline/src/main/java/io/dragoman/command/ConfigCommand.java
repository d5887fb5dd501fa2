package io.dragoman.command;

import io.dragoman.config.DragomanConfig;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "config", description = "Prints every setting as a Markdown table.", mixinStandardHelpOptions = true)
final class ConfigCommand implements Callable<Integer> {
    @Override
    public Integer call() {
        System.out.print(DragomanConfig.markdownTable());
        return 0;
    }
}
