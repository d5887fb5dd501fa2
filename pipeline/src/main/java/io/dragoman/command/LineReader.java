package io.dragoman.command;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Lines as bytes, whatever they hold. A line ends at a line feed and nowhere else (a carriage return before it is dropped),
 * so that the lines counted here are those of {@code wc -l}, and bytes that are no text reach the pipeline as they are.
 *
 * <p>A line longer than {@link #LONGEST} is cut there: such a line is rejected as too long anyway, and the whole would not
 * fit into a record.
 */
final class LineReader implements AutoCloseable {
    /** Bytes. */
    static final int LONGEST = 900_000;

    private final InputStream in;
    private final byte[] buffer = new byte[1 << 16];
    private int position;
    private int end;

    LineReader(InputStream in) {
        this.in = in;
    }

    /** The next line without its end, or null after the last. */
    byte @Nullable [] next() throws IOException {
        byte[] line = new byte[256];
        int length = 0;
        boolean any = false;
        while (position < end || fill()) {
            any = true;
            byte next = buffer[position++];
            if (next == '\n') {
                return finish(line, length);
            }
            if (length == line.length && length < LONGEST) {
                line = Arrays.copyOf(line, Math.min(2 * length, LONGEST));
            }
            if (length < LONGEST) {
                line[length++] = next;
            }
        }
        return any ? finish(line, length) : null;
    }

    private boolean fill() throws IOException {
        position = 0;
        end = Math.max(0, in.read(buffer));
        return end > 0;
    }

    private static byte[] finish(byte[] line, int length) {
        int kept = length;
        if (length == LONGEST) {
            while (kept > LONGEST - 4 && (line[kept - 1] & 0xC0) == 0x80) { // not inside a character
                kept--;
            }
            kept -= (line[kept - 1] & 0x80) == 0 ? 0 : 1;
        } else if (kept > 0 && line[kept - 1] == '\r') {
            kept--;
        }
        return Arrays.copyOf(line, kept);
    }

    /**
     * A line as text.
     *
     * @throws CharacterCodingException when it is not UTF-8
     */
    static String decode(byte[] line) throws CharacterCodingException {
        return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(line)).toString();
    }

    /** A line for a person to see, U+FFFD where it is not UTF-8. */
    static String show(byte[] line) {
        return new String(line, StandardCharsets.UTF_8);
    }

    @Override
    public void close() throws IOException {
        in.close();
    }
}
