package io.dragoman.command;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class LineReaderTest {
    private static List<String> lines(String input) throws IOException {
        LineReader reader = new LineReader(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        List<String> lines = new ArrayList<>();
        for (byte[] line = reader.next(); line != null; line = reader.next()) {
            lines.add(LineReader.decode(line));
        }
        assertNull(reader.next(), "the end stays the end");
        return lines;
    }

    @Test
    void shouldEndLinesAtLineFeedsAlone() throws IOException {
        assertEquals(List.of(), lines(""));
        assertEquals(List.of(""), lines("\n"));
        assertEquals(List.of("a", "", "b"), lines("a\n\nb"));
        assertEquals(List.of("a", "b"), lines("a\r\nb\n"));
        assertEquals(List.of("a\rb\u2028c\u0085d"), lines("a\rb\u2028c\u0085d\n"));
    }

    @Test
    void shouldHandOnBytesThatAreNoText() throws IOException {
        LineReader reader = new LineReader(new ByteArrayInputStream(new byte[] {'a', (byte) 0xff, 0, '\n', 'b'}));
        byte[] line = reader.next();
        assertArrayEquals(new byte[] {'a', (byte) 0xff, 0}, line);
        assertThrows(CharacterCodingException.class, () -> LineReader.decode(line));
        assertEquals("a\ufffd\u0000", LineReader.show(line));
        assertArrayEquals(new byte[] {'b'}, reader.next());
    }

    @Test
    void shouldCutAnEndlessLineBetweenCharactersAndReadOnAfterIt() throws IOException {
        assertEquals(List.of("a".repeat(LineReader.LONGEST), "b"), lines("a".repeat(2_000_000) + "\nb"));
        assertEquals(List.of("😀".repeat(LineReader.LONGEST / 4 - 1), "b"), lines("😀".repeat(500_000) + "\nb"));
        assertEquals(
                List.of("x" + "é".repeat(LineReader.LONGEST / 2 - 1), "b"), lines("x" + "é".repeat(700_000) + "\nb"));
    }
}
