package io.dragoman.infer;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The {@code golden.tsv} of a bundle: sentences with what the model made of them when it was exported. */
public final class GoldenFile {
    private GoldenFile() {}

    /**
     * One sentence.
     *
     * @param links over words, Pharaoh format
     * @param score mean token log-probability
     * @param weights [target tokens][source tokens], ends of sentence included; no rows for a model without attention
     */
    public record Example(String source, String translation, String links, double score, List<float[]> weights) {
        public Example {
            weights = List.copyOf(weights);
        }
    }

    /** @throws IOException when the file cannot be read or a line is not as it should be */
    public static List<Example> read(Path file) throws IOException {
        List<Example> examples = new ArrayList<>();
        int number = 0;
        for (String line : lines(file)) {
            number++;
            if (!line.startsWith("#")) {
                examples.add(parse(file, number, line));
            }
        }
        if (examples.isEmpty()) {
            throw new IOException(file + ": should have at least one sentence");
        }
        return examples;
    }

    private static List<String> lines(Path file) throws IOException {
        try {
            return Files.readAllLines(file, StandardCharsets.UTF_8);
        } catch (CharacterCodingException e) {
            throw new IOException(file + ": should be UTF-8: it is not", e);
        }
    }

    private static Example parse(Path file, int number, String line) throws IOException {
        String[] columns = line.split("\t", -1);
        if (columns.length != 5) {
            throw new IOException(file + ":" + number + ": should have 5 columns: has " + columns.length);
        }
        try {
            List<float[]> rows = new ArrayList<>();
            for (String row : columns[4].isEmpty() ? new String[0] : columns[4].split(";", -1)) {
                String[] cells = row.split(",", -1);
                float[] weights = new float[cells.length];
                for (int i = 0; i < cells.length; i++) {
                    weights[i] = Float.parseFloat(cells[i]);
                }
                rows.add(weights);
            }
            return new Example(columns[0], columns[1], columns[2], Double.parseDouble(columns[3]), rows);
        } catch (NumberFormatException e) {
            throw new IOException(file + ":" + number + ": " + e.getMessage(), e);
        }
    }
}
