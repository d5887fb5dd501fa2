package io.dragoman.command;

import io.dragoman.schema.Alignment;
import io.dragoman.schema.Token;
import java.util.ArrayList;
import java.util.List;

/**
 * An alignment for a terminal: a row for each target token, a column for each source token, darker for more weight; a
 * picture for each piece of a text that was split. Wider ones are printed in parts.
 */
final class Heatmap {
    private static final String[] SHADES = {"·", "░", "▒", "▓", "█"};

    private Heatmap() {}

    /** @param width columns of the terminal */
    static String draw(Alignment alignment, int width) {
        List<Weights.Block> blocks = Weights.blocks(alignment);
        if (blocks.isEmpty()) {
            return "  (the record has no weights)\n";
        }
        List<String> columns = labels(alignment.getSourceTokens());
        List<String> rows = labels(alignment.getTargetTokens());
        StringBuilder drawn = new StringBuilder();
        for (Weights.Block block : blocks) {
            float[][] weights = block.weights();
            int sources = weights.length == 0 ? 0 : weights[0].length;
            draw(
                    drawn,
                    weights,
                    rows.subList(block.target(), block.target() + weights.length),
                    columns.subList(block.source(), block.source() + sources),
                    width);
        }
        return drawn.toString();
    }

    private static void draw(
            StringBuilder drawn, float[][] weights, List<String> rows, List<String> columns, int width) {
        int margin = rows.stream().mapToInt(Heatmap::width).max().orElse(0) + 3;
        for (int first = 0; first < columns.size(); ) {
            int last = first;
            int used = margin;
            while (last < columns.size() && (last == first || used + width(columns.get(last)) + 1 <= width)) {
                used += width(columns.get(last++)) + 1;
            }
            part(drawn, weights, rows, columns, margin, first, last);
            first = last;
        }
    }

    private static void part(
            StringBuilder drawn,
            float[][] weights,
            List<String> rows,
            List<String> columns,
            int margin,
            int first,
            int last) {
        drawn.append(" ".repeat(margin));
        for (int column = first; column < last; column++) {
            drawn.append(columns.get(column)).append(' ');
        }
        drawn.append('\n');
        for (int row = 0; row < rows.size(); row++) {
            drawn.append(" ".repeat(margin - 1 - width(rows.get(row))))
                    .append(rows.get(row))
                    .append(' ');
            for (int column = first; column < last; column++) {
                drawn.append(shade(weights[row][column]).repeat(width(columns.get(column))))
                        .append(' ');
            }
            drawn.append('\n');
        }
    }

    private static String shade(float weight) {
        int level = Math.round(weight * (SHADES.length - 1));
        return SHADES[Math.max(0, Math.min(SHADES.length - 1, level))];
    }

    /** Pieces as they are, without the word-start mark and without anything a terminal would obey. */
    private static List<String> labels(List<Token> tokens) {
        List<String> labels = new ArrayList<>();
        for (Token token : tokens) {
            String text = token.getText().replace("\u2581", "").replaceAll("[\\p{C}\\p{M}]", "");
            labels.add(text.isEmpty() ? "_" : text);
        }
        return labels;
    }

    private static int width(String label) {
        return label.codePointCount(0, label.length());
    }
}
