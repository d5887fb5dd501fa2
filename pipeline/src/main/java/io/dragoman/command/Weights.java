package io.dragoman.command;

import io.dragoman.schema.Alignment;
import io.dragoman.schema.Link;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.stream.Collectors;

/** Reads the weights and links of an alignment record, as its schema says. */
final class Weights {
    private Weights() {}

    /** [target tokens][source tokens]; no rows when the record has none. */
    static float[][] of(Alignment alignment) {
        int columns = alignment.getSourceTokens().size();
        ByteBuffer bytes = alignment.getWeights().duplicate().order(ByteOrder.LITTLE_ENDIAN);
        float[][] rows = new float
                [bytes.remaining() == 0 ? 0 : alignment.getTargetTokens().size()][columns];
        for (float[] row : rows) {
            for (int column = 0; column < columns; column++) {
                row[column] = switch (alignment.getEncoding()) {
                    case FLOAT32 -> bytes.getFloat();
                    case FLOAT16 -> half(bytes.getShort());
                    case UINT8 -> (bytes.get() & 0xff) / 255f;
                    case NONE -> 0;
                };
            }
        }
        return rows;
    }

    private static float half(short bits) {
        int exponent = bits >> 10 & 0x1f;
        int fraction = bits & 0x3ff;
        return exponent == 0 ? fraction * 0x1p-24f : (1 + fraction * 0x1p-10f) * (float) Math.pow(2, exponent - 15);
    }

    /** Pharaoh format: {@code 0-0 1-2}. */
    static String pharaoh(List<Link> links) {
        return links.stream()
                .map(link -> link.getSource() + "-" + link.getTarget())
                .collect(Collectors.joining(" "));
    }
}
