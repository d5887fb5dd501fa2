package io.dragoman.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.CleanupMode;
import org.junit.jupiter.api.io.TempDir;

/** The short form of {@code bin/dragoman chaos}: one broker, small numbers. The long form is in the README. */
class ChaosIT {
    @TempDir(cleanup = CleanupMode.NEVER)
    static Path folder;

    @Test
    void shouldLoseDoubleAndDisorderNothingInThreeKillsAndADrain() throws Exception {
        DragomanProcess process = DragomanProcess.start(
                folder,
                "chaos",
                "--scenario=kill-instance,drain",
                "--kills=3",
                "--times=1",
                "--brokers=1",
                "--rate=10",
                "--seed=2");
        assertEquals(0, process.await(Duration.ofMinutes(10)), process.out() + process.err());
        List<String> rows = process.out().lines().toList();
        assertTrue(rows.get(2).matches("\\| kill-instance \\| 3 \\| \\d+ \\| 0 \\| 0 \\| 0 \\| .*"), process.out());
        assertTrue(rows.get(3).matches("\\| drain \\| 1 \\| \\d+ \\| 0 \\| 0 \\| 0 \\| .*"), process.out());
        assertEquals(4, rows.size(), process.out());
    }
}
