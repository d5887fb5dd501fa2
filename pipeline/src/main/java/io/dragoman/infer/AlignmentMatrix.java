package io.dragoman.infer;

/** Attention weights of one sentence, [target tokens x source tokens]; every row sums to 1. Immutable. */
public final class AlignmentMatrix {
    private final int rows;
    private final int columns;
    private final float[] weights;

    /** @param weights row-major, copied */
    public AlignmentMatrix(int rows, int columns, float[] weights) {
        if (rows < 0 || columns < 1 || weights.length != rows * columns) {
            throw new IllegalArgumentException(
                    "should be " + rows + " x " + columns + " weights: were " + weights.length);
        }
        this.rows = rows;
        this.columns = columns;
        this.weights = weights.clone();
    }

    /** Target tokens, the end of sentence included when the translation has one. */
    public int rows() {
        return rows;
    }

    /** Source tokens, the end of sentence included; never padding. */
    public int columns() {
        return columns;
    }

    public float at(int target, int source) {
        if (source < 0 || source >= columns) {
            throw new IndexOutOfBoundsException("source " + source + " of " + columns);
        }
        return weights[target * columns + source];
    }

    /** The first weights of a row, as many as {@code into} holds. */
    public void copyRow(int target, float[] into) {
        if (into.length > columns) {
            throw new IndexOutOfBoundsException(into.length + " of " + columns);
        }
        System.arraycopy(weights, target * columns, into, 0, into.length);
    }

    /** Mean over rows of entropy / log(columns): 0 when every row is one-hot, 1 when every row is uniform. */
    public double normalizedEntropy() {
        if (rows == 0 || columns == 1) {
            return 0;
        }
        double sum = 0;
        for (float weight : weights) {
            sum -= weight > 0 ? weight * Math.log(weight) : 0;
        }
        return sum / rows / Math.log(columns);
    }
}
