package io.dragoman.infer;

import java.nio.file.Path;
import java.util.List;

/** A bundle cannot be used; {@link #faults} has every reason found. */
public final class BundleException extends Exception {
    private static final long serialVersionUID = 1;

    private final transient List<String> faults;

    public BundleException(Path folder, List<String> faults) {
        super("bundle " + folder + " cannot be used: " + String.join("; ", faults));
        this.faults = List.copyOf(faults);
    }

    public List<String> faults() {
        return faults;
    }
}
