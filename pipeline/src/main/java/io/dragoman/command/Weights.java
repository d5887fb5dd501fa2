package io.dragoman.command;

import io.dragoman.schema.Alignment;
import io.dragoman.schema.Link;
import io.dragoman.schema.TokenSegment;
import io.dragoman.schema.WeightEncoding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/** Reads the weights and links of an alignment record, as its schema says. */
final class Weights {
    private Weights() {}

    /** The weights between a piece's tokens, [target][source], the first of them at {@code target} and {@code source}. */
    @SuppressWarnings("ArrayRecordComponent") // read and drawn at once, never kept
    record Block(int target, int source, float[][] weights) {}

    /** One for each piece of the text, others being 0; none when the record has no weights. */
    static List<Block> blocks(Alignment alignment) {
        int columns = alignment.getSourceTokens().size();
        int rows = alignment.getTargetTokens().size();
        List<TokenSegment> segments = alignment.getSegments().isEmpty()
                ? List.of(new TokenSegment(0, columns, 0, rows))
                : alignment.getSegments();
        ByteBuffer bytes = alignment.getWeights().duplicate().order(ByteOrder.LITTLE_ENDIAN);
        List<Block> blocks = new ArrayList<>();
        for (TokenSegment segment : bytes.remaining() == 0 ? List.<TokenSegment>of() : segments) {
            int width = segment.getSourceEnd() - segment.getSourceStart();
            float[][] weights = new float[segment.getTargetEnd() - segment.getTargetStart()][width];
            for (float[] row : weights) {
                skip(bytes, alignment.getEncoding(), segment.getSourceStart());
                for (int column = 0; column < width; column++) {
                    row[column] = next(bytes, alignment.getEncoding());
                }
                skip(bytes, alignment.getEncoding(), columns - segment.getSourceEnd());
            }
            blocks.add(new Block(segment.getTargetStart(), segment.getSourceStart(), weights));
        }
        return blocks;
    }

    /** [target tokens][source tokens]; no rows when the record has none. */
    static float[][] of(Alignment alignment) {
        List<Block> blocks = blocks(alignment);
        int columns = alignment.getSourceTokens().size();
        float[][] rows =
                new float[blocks.isEmpty() ? 0 : alignment.getTargetTokens().size()][columns];
        for (Block block : blocks) {
            for (int row = 0; row < block.weights().length; row++) {
                float[] weights = block.weights()[row];
                System.arraycopy(weights, 0, rows[block.target() + row], block.source(), weights.length);
            }
        }
        return rows;
    }

    /** Zeros outside the blocks are written by some encodings alone. */
    private static void skip(ByteBuffer bytes, WeightEncoding encoding, int weights) {
        int width =
                switch (encoding) {
                    case FLOAT32 -> 4;
                    case FLOAT16 -> 2;
                    case UINT8 -> 1;
                    case FLOAT32_BLOCKS, FLOAT16_BLOCKS, UINT8_BLOCKS, NONE -> 0;
                };
        bytes.position(bytes.position() + width * weights);
    }

    private static float next(ByteBuffer bytes, WeightEncoding encoding) {
        return switch (encoding) {
            case FLOAT32, FLOAT32_BLOCKS -> bytes.getFloat();
            case FLOAT16, FLOAT16_BLOCKS -> half(bytes.getShort());
            case UINT8, UINT8_BLOCKS -> (bytes.get() & 0xff) / 255f;
            case NONE -> 0;
        };
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
