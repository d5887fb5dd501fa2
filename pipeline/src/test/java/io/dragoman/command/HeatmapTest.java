package io.dragoman.command;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.dragoman.schema.Alignment;
import io.dragoman.schema.Link;
import io.dragoman.schema.Model;
import io.dragoman.schema.Origin;
import io.dragoman.schema.Token;
import io.dragoman.schema.TokenSegment;
import io.dragoman.schema.TrustedRecords;
import io.dragoman.schema.WeightEncoding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class HeatmapTest {
    static {
        TrustedRecords.register();
    }

    private static Alignment alignment(
            List<String> source, List<String> target, WeightEncoding encoding, ByteBuffer weights) {
        return Alignment.newBuilder()
                .setId("id")
                .setSourceLanguage("fr")
                .setTargetLanguage("en")
                .setModel(new Model("tiny", "1", "00"))
                .setSourceTokens(tokens(source))
                .setTargetTokens(tokens(target))
                .setEncoding(encoding)
                .setEncodingError(0)
                .setWeights(weights)
                .setTokenLinks(List.of())
                .setWordLinks(List.of())
                .setOrigin(new Origin("t", 0, 0L, 0L))
                .build();
    }

    private static Alignment alignment(List<String> source, List<String> target, float... weights) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * weights.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(weights);
        return alignment(source, target, WeightEncoding.FLOAT32, bytes);
    }

    private static List<Token> tokens(List<String> pieces) {
        return pieces.stream()
                .map(piece -> new Token(piece, 0, 0, piece.equals("</s>")))
                .toList();
    }

    @Test
    void shouldDrawAPictureForEachPiece() {
        ByteBuffer dense = ByteBuffer.wrap(new byte[] {-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1});
        ByteBuffer blocks = ByteBuffer.wrap(new byte[] {-1, 0, 0, -1, -1, 0, 0, -1});
        for (WeightEncoding encoding : List.of(WeightEncoding.UINT8, WeightEncoding.UINT8_BLOCKS)) {
            List<String> source = List.of("▁le", "</s>", "▁ne", "</s>");
            List<String> target = List.of("▁the", "</s>", "▁no", "</s>");
            Alignment alignment = Alignment.newBuilder(
                            alignment(source, target, encoding, encoding == WeightEncoding.UINT8 ? dense : blocks))
                    .setSegments(List.of(new TokenSegment(0, 2, 0, 2), new TokenSegment(2, 4, 2, 4)))
                    .build();
            assertEquals(
                    "       le </s> \n   the ██ ···· \n  </s> ·· ████ \n"
                            + "       ne </s> \n    no ██ ···· \n  </s> ·· ████ \n",
                    Heatmap.draw(alignment, 80));
            assertArrayEquals(new float[] {0, 0, 1, 0}, Weights.of(alignment)[2]);
        }
    }

    @Test
    void shouldDrawARowForEachTargetToken() {
        Alignment alignment = alignment(
                List.of("▁le", "▁chat", "</s>"),
                List.of("▁the", "▁cat", "</s>"),
                0.75f,
                0.25f,
                0f,
                0.05f,
                0.95f,
                0f,
                0.5f,
                0f,
                0.5f);
        assertEquals(
                """
                       le chat </s>\s
                   the ▓▓ ░░░░ ····\s
                   cat ·· ████ ····\s
                  </s> ▒▒ ···· ▒▒▒▒\s
                """,
                Heatmap.draw(alignment, 80));
    }

    @Test
    void shouldDrawAWideOneInParts() {
        Alignment alignment = alignment(
                List.of("▁un", "▁deux", "▁trois", "</s>"), List.of("▁a", "</s>"), 1f, 0f, 0f, 0f, 0f, 0f, 0f, 1f);
        assertEquals(
                """
                       un deux\s
                     a ██ ····\s
                  </s> ·· ····\s
                       trois </s>\s
                     a ····· ····\s
                  </s> ····· ████\s
                """,
                Heatmap.draw(alignment, 18));
        assertEquals(
                4 * 3,
                Heatmap.draw(alignment, 1).lines().count(),
                "one column at least in each part, however narrow the terminal");
    }

    @Test
    void shouldNotDrawWhatATerminalWouldObey() {
        Alignment alignment = alignment(
                List.of("\u001b[2Ja", "\u202eb\u200b", "c\u0301\u0007", "▁"), List.of("\r\nd"), 1f, 0f, 0f, 0f);
        assertEquals("    [2Ja b c _ \n  d ████ · · · \n", Heatmap.draw(alignment, 80));
    }

    @Test
    void shouldCountCodePointsNotUnits() {
        assertEquals("    😀 \n  a █ \n", Heatmap.draw(alignment(List.of("😀"), List.of("a"), 1f), 80));
    }

    @Test
    void shouldSayWhenThereAreNoWeights() {
        Alignment none = alignment(List.of("a"), List.of("b"), WeightEncoding.NONE, ByteBuffer.allocate(0));
        assertEquals("  (the record has no weights)\n", Heatmap.draw(none, 80));
        assertEquals(0, Weights.of(none).length);
    }

    @Test
    void shouldReadEveryEncoding() {
        List<String> two = List.of("a", "b");
        ByteBuffer floats = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
        floats.putFloat(1).putFloat(0).putFloat(0.25f).putFloat(0.75f).flip();
        assertRows(alignment(two, two, WeightEncoding.FLOAT32, floats), 1, 0, 0.25f, 0.75f);
        ByteBuffer halves = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
        halves.putShort((short) 0x3c00)
                .putShort((short) 0x0001)
                .putShort((short) 0x3400)
                .putShort((short) 0x3555)
                .flip();
        assertRows(alignment(two, two, WeightEncoding.FLOAT16, halves), 1, 0x1p-24f, 0.25f, 0.333251953125f);
        ByteBuffer bytes = ByteBuffer.wrap(new byte[] {(byte) 255, 0, 51, (byte) 204});
        assertRows(alignment(two, two, WeightEncoding.UINT8, bytes), 1, 0, 0.2f, 0.8f);
    }

    private static void assertRows(Alignment alignment, float... expected) {
        float[][] rows = Weights.of(alignment);
        assertEquals(2, rows.length);
        assertArrayEquals(Arrays.copyOfRange(expected, 0, 2), rows[0]);
        assertArrayEquals(Arrays.copyOfRange(expected, 2, 4), rows[1]);
        assertArrayEquals(rows[0], Weights.of(alignment)[0], "reading leaves the record as it was");
    }

    @Test
    void shouldWriteLinksInPharaohFormat() {
        assertEquals("0-0 2-1", Weights.pharaoh(List.of(new Link(0, 0), new Link(2, 1))));
        assertEquals("", Weights.pharaoh(List.of()));
    }
}
