package io.dragoman.command;

import org.jspecify.annotations.Nullable;

/** Which bundle a command uses. */
final class BundleChoice {
    private BundleChoice() {}

    /** The one named, or the one that comes with Dragoman for the languages; the default one without either. */
    static String byLanguage(@Nullable String bundle, @Nullable String from, @Nullable String to)
            throws CommandException {
        if (bundle != null) {
            return bundle;
        }
        if (from == null && to == null) {
            return "fr-en";
        }
        if (from == null || to == null) {
            throw new CommandException("--from and --to should be given together");
        }
        String name = from + "-" + to;
        if (!name.matches("[A-Za-z0-9_-]+") || !Home.bundle(name).toFile().isDirectory()) {
            throw new CommandException("no bundle translates " + from + " to " + to
                    + ": `dragoman bundle list` shows which there are, --bundle names another folder");
        }
        return name;
    }
}
