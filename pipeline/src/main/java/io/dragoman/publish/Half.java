package io.dragoman.publish;

/** IEEE 754 half precision for numbers from 0 to 1. The JDK has this from version 20 on. */
final class Half {
    /** Below this, halves are spaced 2^-24 apart. */
    private static final float SMALLEST_NORMAL = 0x1p-14f;

    private Half() {}

    /** The nearest half of a weight, to even on a tie. */
    static short fromWeight(float weight) {
        if (!(weight >= 0 && weight <= 1.01f)) {
            throw new IllegalArgumentException("a weight should be between 0 and 1: was " + weight);
        }
        if (weight < SMALLEST_NORMAL) {
            return (short) Math.rint(weight * 0x1p24);
        }
        int bits = Float.floatToRawIntBits(weight);
        int kept = bits >>> 13;
        int dropped = bits & 0x1fff;
        boolean up = dropped > 0x1000 || (dropped == 0x1000 && (kept & 1) == 1);
        return (short) (kept - ((127 - 15) << 10) + (up ? 1 : 0));
    }

    static float toFloat(short half) {
        int exponent = half >> 10 & 0x1f;
        int fraction = half & 0x3ff;
        return exponent == 0 ? fraction * 0x1p-24f : Float.intBitsToFloat((exponent + 127 - 15) << 23 | fraction << 13);
    }
}
