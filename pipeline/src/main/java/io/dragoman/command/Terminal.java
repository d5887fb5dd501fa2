package io.dragoman.command;

/** What is known of the terminal without asking it. */
final class Terminal {
    private static final int USUAL = 100;

    private Terminal() {}

    /** Columns, from the variable COLUMNS when it is set. */
    static int width() {
        String columns = System.getenv("COLUMNS");
        return columns != null && columns.matches("[1-9]\\d{1,3}") ? Integer.parseInt(columns) : USUAL;
    }
}
