package io.dragoman.command;

import java.lang.management.ManagementFactory;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Tells with {@code --debug} what the time from the JVM's start goes to, a line for each part. */
final class StartUp {
    private static final Logger LOG = LoggerFactory.getLogger(StartUp.class);

    private long before = ManagementFactory.getRuntimeMXBean().getStartTime();

    /** {@code what} took the time since the part before it, or since the JVM's start. */
    void done(String what) {
        long now = System.currentTimeMillis();
        LOG.debug("{} ms: {}", now - before, what);
        before = now;
    }
}
