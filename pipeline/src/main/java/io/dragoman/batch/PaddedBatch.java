package io.dragoman.batch;

import io.dragoman.tokenize.TokenizedText;
import java.util.List;

/** Sentences side by side, [rows x width], padding on the right. */
public final class PaddedBatch {
    private final List<TokenizedText> sentences;
    private final int width;
    private final long pad;

    /** @param pad the id that fills the rows; the mask, not the id, is what hides it */
    public PaddedBatch(List<TokenizedText> sentences, long pad) {
        this(sentences, pad, Widths.EXACT);
    }

    /** @param widths how wide it is padded */
    public PaddedBatch(List<TokenizedText> sentences, long pad, Widths widths) {
        if (sentences.isEmpty()) {
            throw new IllegalArgumentException("a batch should have at least one sentence");
        }
        this.sentences = List.copyOf(sentences);
        this.width = widths.of(
                sentences.stream().mapToInt(TokenizedText::length).max().orElseThrow());
        this.pad = pad;
        if (sentences.stream().anyMatch(sentence -> sentence.length() == 0)) {
            throw new IllegalArgumentException("every sentence of a batch should have at least one id");
        }
    }

    public int rows() {
        return sentences.size();
    }

    public int width() {
        return width;
    }

    public TokenizedText sentence(int row) {
        return sentences.get(row);
    }

    /** Row-major [rows x width], a new array. */
    public long[] ids() {
        long[] ids = new long[rows() * width];
        for (int row = 0; row < rows(); row++) {
            for (int column = 0; column < width; column++) {
                ids[row * width + column] = column < sentences.get(row).length()
                        ? sentences.get(row).id(column)
                        : pad;
            }
        }
        return ids;
    }

    /** Row-major [rows x width], 1 on ids and 0 on padding, a new array. */
    public long[] mask() {
        long[] mask = new long[rows() * width];
        for (int row = 0; row < rows(); row++) {
            for (int column = 0; column < sentences.get(row).length(); column++) {
                mask[row * width + column] = 1;
            }
        }
        return mask;
    }
}
