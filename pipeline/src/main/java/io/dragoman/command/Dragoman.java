package io.dragoman.command;

import io.dragoman.chaos.ChaosException;
import io.dragoman.infer.BundleException;
import io.dragoman.topology.Topics;
import io.dragoman.wire.RegistryException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.config.ConfigException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/** The entry point: one subcommand for each thing a person does. Exit codes: 0, 1 for failure, 2 for wrong usage. */
@Command(
        name = "dragoman",
        description = "Translates a Kafka stream and publishes word alignments.",
        version = "dragoman 0.1.0",
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {
            DemoCommand.class,
            TranslateCommand.class,
            AlignCommand.class,
            RunCommand.class,
            BrokerCommand.class,
            TopicsCommand.class,
            BundleCommand.class,
            ConfigCommand.class,
            BenchCommand.class,
            ChaosCommand.class,
            SoakCommand.class
        })
public final class Dragoman {
    @Option(
            names = "--debug",
            scope = ScopeType.INHERIT,
            description = "Log more, and print stack traces when something fails.")
    private boolean debug;

    public static void main(String[] args) {
        List<String> words = Arrays.asList(args);
        if (words.contains("--debug")) {
            System.setProperty("dragoman.log.level", "DEBUG");
            System.setProperty("dragoman.log.exceptions", "%ex");
        } else if (!words.contains("run")) {
            System.setProperty("dragoman.log.level", "ERROR"); // these commands tell of rejections themselves
        }
        // Standard output may be a pipe, so it is buffered; commands flush when a reader should see something.
        System.setOut(new PrintStream(
                new java.io.BufferedOutputStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), 1 << 16),
                false,
                StandardCharsets.UTF_8));
        System.setErr(new PrintStream(
                new java.io.FileOutputStream(java.io.FileDescriptor.err), true, StandardCharsets.UTF_8));
        int code = execute(args);
        System.out.flush();
        System.exit(code);
    }

    /** Runs a command and returns its exit code. */
    static int execute(String... args) {
        CommandLine line = new CommandLine(new Dragoman());
        line.setExecutionExceptionHandler(Dragoman::explain);
        line.setParameterExceptionHandler((exception, arguments) -> {
            System.err.println("dragoman: " + oneLine(String.valueOf(exception.getMessage())) + " (see `dragoman "
                    + path(exception.getCommandLine()) + "--help`)");
            return CommandLine.ExitCode.USAGE;
        });
        line.setCaseInsensitiveEnumValuesAllowed(true);
        return line.execute(args);
    }

    private static String path(CommandLine line) {
        String name = line.getCommandSpec().qualifiedName(" ");
        return name.equals("dragoman") ? "" : name.substring("dragoman ".length()) + " ";
    }

    private static int explain(Exception exception, CommandLine line, CommandLine.ParseResult parsed) {
        boolean debug = line.getCommandSpec().root().userObject() instanceof Dragoman root && root.debug;
        if (debug) {
            exception.printStackTrace();
        }
        if (exception instanceof NoSuchFileException missing) {
            return complain(missing.getFile() + ": no such file");
        }
        if (exception instanceof FileSystemException file) {
            String reason = file instanceof AccessDeniedException ? "permission denied" : file.getReason();
            return complain(
                    file.getFile() + ": " + (reason == null ? file.getClass().getSimpleName() : reason));
        }
        if (exception instanceof CommandException
                || exception instanceof BundleException
                || exception instanceof Topics.ClusterException
                || exception instanceof ChaosException
                || exception instanceof ConfigException
                || exception instanceof RegistryException
                || exception instanceof IOException) {
            return complain(String.valueOf(exception.getMessage()));
        }
        if (exception instanceof InterruptedException) {
            Thread.currentThread().interrupt();
            return complain("interrupted");
        }
        if (isEnding()) {
            return complain("stopped from outside");
        }
        return complain("unexpected: " + exception + (debug ? "" : " (run it again with --debug to see where)"));
    }

    /** Whether a signal ends this JVM: what is still at work finds everything closed. */
    private static boolean isEnding() {
        Thread hook = new Thread(() -> {}, "dragoman-unused");
        try {
            Runtime.getRuntime().addShutdownHook(hook);
            Runtime.getRuntime().removeShutdownHook(hook);
            return false;
        } catch (IllegalStateException e) {
            return true;
        }
    }

    private static int complain(String message) {
        System.out.flush();
        System.err.println("dragoman: " + oneLine(message));
        return CommandLine.ExitCode.SOFTWARE;
    }

    private static String oneLine(String message) {
        return message.strip().replaceAll("\\s*\\R\\s*", "; ");
    }
}
