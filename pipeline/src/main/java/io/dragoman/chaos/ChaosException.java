package io.dragoman.chaos;

/** A scenario could not be played: a process did not start, or the stream did not come back. */
public final class ChaosException extends Exception {
    private static final long serialVersionUID = 1;

    ChaosException(String message) {
        super(message);
    }

    ChaosException(String message, Throwable cause) {
        super(message, cause);
    }
}
