package io.dragoman.publish;

import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.schema.WeightEncoding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A matrix as bytes, little-endian and row-major, and what reading them back costs in accuracy.
 *
 * @param error largest difference between a weight read back and the model's
 */
record EncodedWeights(WeightEncoding encoding, ByteBuffer bytes, float error) {

    static EncodedWeights of(AlignmentMatrix matrix, WeightEncoding encoding) {
        int width = width(encoding);
        ByteBuffer bytes =
                ByteBuffer.allocate(width * matrix.rows() * matrix.columns()).order(ByteOrder.LITTLE_ENDIAN);
        float error = 0;
        for (int row = 0; row < matrix.rows() && width > 0; row++) {
            for (int column = 0; column < matrix.columns(); column++) {
                float weight = matrix.at(row, column);
                error = Math.max(error, Math.abs(put(bytes, encoding, weight) - weight));
            }
        }
        bytes.flip();
        return new EncodedWeights(encoding, bytes, error);
    }

    private static int width(WeightEncoding encoding) {
        return switch (encoding) {
            case FLOAT32 -> 4;
            case FLOAT16 -> 2;
            case UINT8 -> 1;
            case NONE -> 0;
        };
    }

    private static float put(ByteBuffer bytes, WeightEncoding encoding, float weight) {
        switch (encoding) {
            case FLOAT32 -> {
                bytes.putFloat(weight);
                return weight;
            }
            case FLOAT16 -> {
                short half = Half.fromWeight(weight);
                bytes.putShort(half);
                return Half.toFloat(half);
            }
            default -> {
                int level = Math.round(weight * 255);
                bytes.put((byte) level);
                return level / 255f;
            }
        }
    }
}
