package io.dragoman.publish;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HalfTest {
    private static final int ONE = 0x3c00;

    @ParameterizedTest
    @CsvSource({
        "0x0000, 0",
        "0x3c00, 1",
        "0x3800, 0.5",
        "0x3400, 0.25",
        "0x3a00, 0.75",
        "0x3555, 0.333251953125", // the half nearest to a third
        "0x3bff, 0.99951171875", // the one before 1
        "0x0400, 0.00006103515625", // the smallest normal one, 2^-14
        "0x03ff, 0.000060975551605224609375", // the largest subnormal one
        "0x0001, 0.000000059604644775390625" // 2^-24
    })
    void shouldAgreeWithTheStandard(String bits, float value) {
        short half = (short) (int) Integer.decode(bits);
        assertEquals(value, Half.toFloat(half));
        assertEquals(half, Half.fromWeight(value));
    }

    @Test
    void shouldGiveEveryHalfFromZeroToOneBack() {
        for (int bits = 0; bits <= ONE; bits++) {
            int exponent = bits >> 10;
            double expected = exponent == 0
                    ? (bits & 0x3ff) * Math.pow(2, -24)
                    : (1 + (bits & 0x3ff) / 1024.0) * Math.pow(2, exponent - 15);
            assertEquals(expected, Half.toFloat((short) bits));
            assertEquals((short) bits, Half.fromWeight(Half.toFloat((short) bits)));
        }
    }

    @Test
    void shouldGoToTheNearestAndToEvenOnATie() {
        for (int bits = 0; bits < ONE; bits++) {
            float low = Half.toFloat((short) bits);
            float high = Half.toFloat((short) (bits + 1));
            float middle = (low + high) / 2; // exact: floats have 13 bits more
            assertEquals(bits % 2 == 0 ? bits : bits + 1, Half.fromWeight(middle));
            assertEquals(bits, Half.fromWeight(Math.nextDown(middle)));
            assertEquals(bits + 1, Half.fromWeight(Math.nextUp(middle)));
        }
    }

    @Test
    void shouldErrByLessThanTheConfigurationSays() {
        Random random = new Random(20_151);
        double worst = 0;
        for (int i = 0; i < 200_000; i++) {
            float weight = random.nextFloat();
            worst = Math.max(worst, Math.abs(Half.toFloat(Half.fromWeight(weight)) - weight));
        }
        assertTrue(worst <= 0.0003, "worst " + worst);
        assertEquals(0x1p-12, worst, 1e-6); // half the distance between halves below 1
    }

    @ParameterizedTest
    @ValueSource(floats = {-1e-9f, -1, 1.02f, Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
    void shouldRefuseWhatIsNoWeight(float weight) {
        assertThrows(IllegalArgumentException.class, () -> Half.fromWeight(weight));
    }

    @Test
    void shouldTakeAWeightThatIsMoreThanOneByRounding() {
        assertEquals(ONE, Half.fromWeight(1.0000002f));
    }
}
