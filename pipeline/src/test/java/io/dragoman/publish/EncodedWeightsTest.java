package io.dragoman.publish;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.schema.WeightEncoding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class EncodedWeightsTest {
    private static final AlignmentMatrix MATRIX = new AlignmentMatrix(2, 3, new float[] {1, 0, 0, 0.5f, 0.25f, 0.25f});

    private static String hex(EncodedWeights weights) {
        byte[] bytes = new byte[weights.bytes().remaining()];
        weights.bytes().duplicate().get(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    @Test
    void shouldWriteRowsOneAfterTheOtherInLittleEndian() {
        assertEquals(
                "0000803f" + "00000000" + "00000000" + "0000003f" + "0000803e" + "0000803e",
                hex(EncodedWeights.of(List.of(MATRIX), WeightEncoding.FLOAT32)));
        assertEquals(
                "003c" + "0000" + "0000" + "0038" + "0034" + "0034",
                hex(EncodedWeights.of(List.of(MATRIX), WeightEncoding.FLOAT16)));
        // 0.5 * 255 = 127.5 and 0.25 * 255 = 63.75
        assertEquals(
                "ff" + "00" + "00" + "80" + "40" + "40", hex(EncodedWeights.of(List.of(MATRIX), WeightEncoding.UINT8)));
        assertEquals("", hex(EncodedWeights.of(List.of(MATRIX), WeightEncoding.NONE)));
    }

    @Test
    void shouldWriteBlocksWithZerosBetweenThemOrAlone() {
        List<AlignmentMatrix> blocks = List.of(
                new AlignmentMatrix(1, 2, new float[] {1, 0}),
                new AlignmentMatrix(2, 1, new float[] {1, 1}),
                new AlignmentMatrix(0, 1, new float[0]));
        assertEquals("ff000000" + "0000ff00" + "0000ff00", hex(EncodedWeights.of(blocks, WeightEncoding.UINT8)));
        assertEquals("ff00" + "ff" + "ff", hex(EncodedWeights.of(blocks, WeightEncoding.UINT8_BLOCKS)));
        assertEquals("003c0000" + "003c" + "003c", hex(EncodedWeights.of(blocks, WeightEncoding.FLOAT16_BLOCKS)));
        for (WeightEncoding encoding : WeightEncoding.values()) {
            assertEquals(
                    EncodedWeights.size(blocks, encoding),
                    EncodedWeights.of(blocks, encoding).bytes().remaining());
        }
    }

    @Test
    void shouldKnowTheSizeOfWhatNoArrayHolds() {
        List<AlignmentMatrix> blocks =
                java.util.Collections.nCopies(2000, new AlignmentMatrix(100, 100, new float[10_000]));
        assertEquals(160_000_000_000L, EncodedWeights.size(blocks, WeightEncoding.FLOAT32));
        assertEquals(20_000_000, EncodedWeights.size(blocks, WeightEncoding.UINT8_BLOCKS));
    }

    @Test
    void shouldSayWhatReadingBackCosts() {
        assertEquals(
                0, EncodedWeights.of(List.of(MATRIX), WeightEncoding.FLOAT32).error());
        assertEquals(
                0, EncodedWeights.of(List.of(MATRIX), WeightEncoding.FLOAT16).error());
        assertEquals(
                128 / 255f - 0.5f,
                EncodedWeights.of(List.of(MATRIX), WeightEncoding.UINT8).error());
        assertEquals(0, EncodedWeights.of(List.of(MATRIX), WeightEncoding.NONE).error());
    }

    @ParameterizedTest
    @CsvSource({"FLOAT32, 0", "FLOAT16, 0.0003", "UINT8, 0.002"})
    void shouldErrByAtMostWhatTheConfigurationSays(WeightEncoding encoding, double stated) {
        Random random = new Random(1);
        for (int round = 0; round < 200; round++) {
            int columns = 1 + random.nextInt(20);
            int rows = 1 + random.nextInt(20);
            float[] weights = rows(random, rows, columns);
            EncodedWeights encoded = EncodedWeights.of(List.of(new AlignmentMatrix(rows, columns, weights)), encoding);
            ByteBuffer bytes = encoded.bytes().duplicate().order(ByteOrder.LITTLE_ENDIAN);
            float worst = 0;
            for (int row = 0; row < rows; row++) {
                double sum = 0;
                for (int column = 0; column < columns; column++) {
                    float read = read(bytes, encoding);
                    worst = Math.max(worst, Math.abs(read - weights[row * columns + column]));
                    sum += read;
                }
                assertEquals(1, sum, encoded.error() * columns + 1e-5);
            }
            assertEquals(0, bytes.remaining());
            assertEquals(worst, encoded.error(), 1e-7);
            assertTrue(worst <= stated, "worst " + worst);
        }
    }

    /** As a reader in another language would do it. */
    private static float read(ByteBuffer bytes, WeightEncoding encoding) {
        return switch (encoding) {
            case FLOAT32 -> bytes.getFloat();
            case FLOAT16 -> {
                int bits = bytes.getShort() & 0xffff;
                double fraction = (bits & 0x3ff) / 1024.0;
                yield (float)
                        (bits < 0x400 ? fraction * Math.pow(2, -14) : (1 + fraction) * Math.pow(2, (bits >> 10) - 15));
            }
            case UINT8 -> (bytes.get() & 0xff) / 255f;
            default -> 0;
        };
    }

    /** Rows that sum to 1, some of them nearly one-hot. */
    private static float[] rows(Random random, int rows, int columns) {
        float[] weights = new float[rows * columns];
        for (int row = 0; row < rows; row++) {
            double[] raw = random.doubles(columns).map(x -> Math.exp(12 * x)).toArray();
            double sum = java.util.Arrays.stream(raw).sum();
            for (int column = 0; column < columns; column++) {
                weights[row * columns + column] = (float) (raw[column] / sum);
            }
        }
        return weights;
    }

    @Test
    void shouldWriteAWeightThatIsMoreThanOneByRoundingAsOne() {
        AlignmentMatrix over = new AlignmentMatrix(1, 1, new float[] {1.0000005f});
        assertEquals("ff", hex(EncodedWeights.of(List.of(over), WeightEncoding.UINT8)));
        assertArrayEquals(
                new byte[] {0, 0x3c},
                HexFormat.of().parseHex(hex(EncodedWeights.of(List.of(over), WeightEncoding.FLOAT16))));
    }
}
