package io.dragoman.infer;

import java.time.Duration;

/** A run of the model failed, or its answer makes no sense. */
public final class ModelException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final boolean cutOff;

    public ModelException(String message) {
        super(message);
        this.cutOff = false;
    }

    public ModelException(String message, Throwable cause) {
        super(message, cause);
        this.cutOff = false;
    }

    private ModelException(Duration limit) {
        super("the run was cut off after " + limit.toMillis() + " ms of processor time");
        this.cutOff = true;
    }

    /** The run took longer than it may. */
    static ModelException cutOff(Duration limit) {
        return new ModelException(limit);
    }

    boolean isCutOff() {
        return cutOff;
    }
}
