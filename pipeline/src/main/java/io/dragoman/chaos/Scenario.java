package io.dragoman.chaos;

/** What can be done to a pipeline, in the order it is done. */
public enum Scenario {
    KILL_INSTANCE("kill -9 of an instance, started again at once; now and then again before it is back"),
    PAUSE("an instance stopped (SIGSTOP) past its session timeout, then woken up"),
    DRAIN("SIGTERM of the only instance with a burst in flight, then another one"),
    KILL_BROKER("kill -9 of a broker, started again at once"),
    KILL_COORDINATOR("kill -9 of the broker that coordinates the group, started again at once"),
    BROKER_GONE("kill -9 of a broker that stays away for a while"),
    DISK_FULL("a broker that can write no more, replaced once it has stopped"),
    ROLLING_RESTART("SIGTERM and start of three static members, one after the other"),
    SCALE("from one instance to three and back"),
    MODEL_FAULTS(
            "sentences on which the model throws, asks for more memory than there is, never ends or gives no numbers");

    private final String description;

    Scenario(String description) {
        this.description = description;
    }

    public String description() {
        return description;
    }

    /** Whether the cluster has to go on with a broker less. */
    public boolean needsReplicas() {
        return this == KILL_BROKER || this == KILL_COORDINATOR || this == BROKER_GONE || this == DISK_FULL;
    }

    /** Whether the instances have a bundle that was spoiled for it. */
    public boolean needsSpoiledBundle() {
        return this == MODEL_FAULTS;
    }

    /** As a person types it. */
    @Override
    public String toString() {
        return name().toLowerCase(java.util.Locale.ROOT).replace('_', '-');
    }
}
