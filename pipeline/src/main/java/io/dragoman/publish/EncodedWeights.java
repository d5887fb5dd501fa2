package io.dragoman.publish;

import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.schema.WeightEncoding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * A block-diagonal matrix as bytes, little-endian and row-major, and what reading them back costs in accuracy.
 *
 * @param error largest difference between a weight read back and the model's
 */
record EncodedWeights(WeightEncoding encoding, ByteBuffer bytes, float error) {

    /** How many bytes {@link #of} would make; known before they are. */
    static long size(List<AlignmentMatrix> blocks, WeightEncoding encoding) {
        long weights = 0;
        long rows = 0;
        long columns = 0;
        for (AlignmentMatrix block : blocks) {
            weights += (long) block.rows() * block.columns();
            rows += block.rows();
            columns += block.columns();
        }
        return width(encoding) * (inBlocks(encoding) ? weights : rows * columns);
    }

    static EncodedWeights of(List<AlignmentMatrix> blocks, WeightEncoding encoding) {
        ByteBuffer bytes =
                ByteBuffer.allocate(Math.toIntExact(size(blocks, encoding))).order(ByteOrder.LITTLE_ENDIAN);
        int columns = blocks.stream().mapToInt(AlignmentMatrix::columns).sum();
        float error = 0;
        int before = 0;
        for (AlignmentMatrix block : width(encoding) == 0 ? List.<AlignmentMatrix>of() : blocks) {
            int after = columns - before - block.columns();
            float[] weights = new float[block.columns()];
            for (int row = 0; row < block.rows(); row++) {
                putZeros(bytes, encoding, before);
                block.copyRow(row, weights);
                error = Math.max(error, put(bytes, encoding, weights));
                putZeros(bytes, encoding, after);
            }
            before += block.columns();
        }
        bytes.flip();
        return new EncodedWeights(encoding, bytes, error);
    }

    private static boolean inBlocks(WeightEncoding encoding) {
        return switch (encoding) {
            case FLOAT32_BLOCKS, FLOAT16_BLOCKS, UINT8_BLOCKS -> true;
            case FLOAT32, FLOAT16, UINT8, NONE -> false;
        };
    }

    private static int width(WeightEncoding encoding) {
        return switch (encoding) {
            case FLOAT32, FLOAT32_BLOCKS -> 4;
            case FLOAT16, FLOAT16_BLOCKS -> 2;
            case UINT8, UINT8_BLOCKS -> 1;
            case NONE -> 0;
        };
    }

    /** Zero is zero bytes in every encoding. */
    private static void putZeros(ByteBuffer bytes, WeightEncoding encoding, int weights) {
        if (!inBlocks(encoding)) {
            bytes.position(bytes.position() + weights * width(encoding));
        }
    }

    /** Gives the largest error. */
    private static float put(ByteBuffer bytes, WeightEncoding encoding, float[] weights) {
        if (width(encoding) == Float.BYTES) {
            bytes.asFloatBuffer().put(weights);
            bytes.position(bytes.position() + weights.length * Float.BYTES);
            return 0;
        }
        float error = 0;
        for (float weight : weights) {
            error = Math.max(error, Math.abs(put(bytes, encoding, weight) - weight));
        }
        return error;
    }

    /** One of less than 32 bits; gives what it is read back as. */
    private static float put(ByteBuffer bytes, WeightEncoding encoding, float weight) {
        return switch (encoding) {
            case FLOAT16, FLOAT16_BLOCKS -> {
                short half = Half.fromWeight(weight);
                bytes.putShort(half);
                yield Half.toFloat(half);
            }
            case UINT8, UINT8_BLOCKS -> {
                int level = Math.round(weight * 255);
                bytes.put((byte) level);
                yield level / 255f;
            }
            case FLOAT32, FLOAT32_BLOCKS, NONE ->
                throw new IllegalArgumentException(encoding + " has no weights of less than 32 bits");
        };
    }
}
