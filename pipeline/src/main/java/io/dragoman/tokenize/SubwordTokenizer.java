package io.dragoman.tokenize;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Text to ids and back, by a Hugging Face {@code tokenizer.json}.
 *
 * <p>The library counts in code points and leaves the space before a word in the word's span; both are put right here,
 * so every span is in UTF-16 units of the text as it was given. Detokenising is done here too, because spans in the
 * made text are needed; it gives the text the library's own decoder gives.
 *
 * <p>Threading: safe for use by many threads. {@link #close} only when no call is under way.
 */
public final class SubwordTokenizer implements AutoCloseable {
    private static final Pattern BYTE_PIECE = Pattern.compile("<0x([0-9A-F]{2})>");
    private static final char WORD_START = '\u2581';

    private final HuggingFaceTokenizer tokenizer;
    private final String[] pieces;
    private final SpecialIds special;

    private SubwordTokenizer(HuggingFaceTokenizer tokenizer, String[] pieces, SpecialIds special) {
        this.tokenizer = tokenizer;
        this.pieces = pieces;
        this.special = special;
    }

    /**
     * Ids with a meaning of their own; they never come out of a text and are left out of one.
     */
    public record SpecialIds(
            @JsonProperty(value = "pad", required = true) long pad,
            @JsonProperty(value = "start", required = true) long start,
            @JsonProperty(value = "end", required = true) long end,
            @JsonProperty(value = "unknown", required = true) long unknown) {
        boolean isSpecial(long id) {
            return id == pad || id == start || id == end || id == unknown;
        }
    }

    /** @throws IOException when the file cannot be read or is no tokenizer; the message says what is wrong */
    public static SubwordTokenizer load(Path file, SpecialIds special) throws IOException {
        String[] pieces = readPieces(file);
        try {
            HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.newInstance(
                    file, Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false"));
            return new SubwordTokenizer(tokenizer, pieces, special);
        } catch (RuntimeException e) {
            throw new IOException(file + ": not a tokenizer: " + e.getMessage(), e);
        }
    }

    private static String[] readPieces(Path file) throws IOException {
        JsonNode vocabulary;
        try {
            vocabulary = new ObjectMapper()
                    .readTree(Files.readAllBytes(file))
                    .path("model")
                    .path("vocab");
        } catch (JsonProcessingException e) {
            throw new IOException(file + ": not JSON: " + e.getOriginalMessage(), e);
        }
        if (!vocabulary.isObject() || vocabulary.isEmpty()) {
            throw new IOException(file + ": should have a vocabulary at model.vocab");
        }
        String[] pieces = new String[vocabulary.size()];
        for (Map.Entry<String, JsonNode> entry : vocabulary.properties()) {
            int id = entry.getValue().asInt(-1);
            if (id < 0 || id >= pieces.length || pieces[id] != null) {
                throw new IOException(file + ": ids should be 0 to " + (pieces.length - 1) + ", each once: was " + id);
            }
            pieces[id] = entry.getKey();
        }
        return pieces;
    }

    public int vocabularySize() {
        return pieces.length;
    }

    /** The ids of {@code text} followed by the end of the sentence; never truncated. */
    public TokenizedText tokenize(String text) {
        Encoding encoding = tokenizer.encode(text, false, false);
        long[] found = encoding.getIds();
        CharSpan[] spans = encoding.getCharTokenSpans();
        int[] units = utf16Offsets(text);
        long[] ids = Arrays.copyOf(found, found.length + 1);
        ids[found.length] = special.end();
        List<TokenSpan> tokens = new ArrayList<>(ids.length);
        for (int i = 0; i < found.length; i++) {
            int start = units[spans[i].getStart()];
            int end = units[spans[i].getEnd()];
            while (start < end && Words.isSpace(text.charAt(start))) {
                start++;
            }
            while (end > start && Words.isSpace(text.charAt(end - 1))) {
                end--;
            }
            tokens.add(new TokenSpan(pieces[Math.toIntExact(found[i])], start, end));
        }
        tokens.add(new TokenSpan(pieces[Math.toIntExact(special.end())], text.length(), text.length()));
        return new TokenizedText(text, ids, tokens, true);
    }

    /** For every code point of {@code text}, and for its end, the UTF-16 unit where it starts. */
    private static int[] utf16Offsets(String text) {
        int[] units = new int[text.codePointCount(0, text.length()) + 1];
        for (int point = 0, unit = 0; point < units.length; point++) {
            units[point] = unit;
            unit += unit < text.length() ? Character.charCount(text.codePointAt(unit)) : 0;
        }
        return units;
    }

    /** The text that target ids spell, with spans; an end of sentence may be last. Special ids get empty spans. */
    public TokenizedText detokenize(long[] ids) {
        StringBuilder text = new StringBuilder();
        int[][] spans = new int[ids.length][];
        for (int i = 0; i < ids.length; ) {
            if (isByte(ids[i])) {
                i = appendBytes(ids, i, text, spans);
                continue;
            }
            String piece = special.isSpecial(ids[i]) ? "" : pieces[Math.toIntExact(ids[i])].replace(WORD_START, ' ');
            int skipped = text.isEmpty() ? leadingSpaces(piece) : 0;
            int start = text.length() + leadingSpaces(piece) - skipped;
            text.append(piece, skipped, piece.length());
            spans[i] = new int[] {start, text.length()};
            i++;
        }
        int end = text.length();
        while (end > 0 && Words.isSpace(text.charAt(end - 1))) {
            end--;
        }
        List<TokenSpan> tokens = new ArrayList<>(ids.length);
        for (int i = 0; i < ids.length; i++) {
            int start = Math.min(spans[i][0], end);
            tokens.add(
                    new TokenSpan(pieces[Math.toIntExact(ids[i])], start, Math.max(start, Math.min(spans[i][1], end))));
        }
        boolean ended = ids.length > 0 && ids[ids.length - 1] == special.end();
        return new TokenizedText(text.substring(0, end), ids, tokens, ended);
    }

    private boolean isByte(long id) {
        return BYTE_PIECE.matcher(pieces[Math.toIntExact(id)]).matches();
    }

    /** Decodes a run of byte pieces together; each of them gets the span of the whole run. */
    private int appendBytes(long[] ids, int first, StringBuilder text, int[][] spans) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        int last = first;
        for (; last < ids.length; last++) {
            Matcher matcher = BYTE_PIECE.matcher(pieces[Math.toIntExact(ids[last])]);
            if (!matcher.matches()) {
                break;
            }
            bytes.write(Integer.parseInt(matcher.group(1), 16));
        }
        int start = text.length();
        text.append(bytes.toString(StandardCharsets.UTF_8));
        for (int i = first; i < last; i++) {
            spans[i] = new int[] {start, text.length()};
        }
        return last;
    }

    private static int leadingSpaces(String piece) {
        int count = 0;
        while (count < piece.length() && piece.charAt(count) == ' ') {
            count++;
        }
        return count;
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
