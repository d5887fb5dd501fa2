package io.dragoman.tokenize;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;

/**
 * Text to ids and back, by a Hugging Face {@code tokenizer.json} of byte-pair encoding or a unigram model.
 *
 * <p>The library counts in code points and leaves the space before a word in the word's span; both are put right here,
 * so every span is in UTF-16 units of the text as it was given. Detokenising is done here too, because spans in the
 * made text are needed; it gives the text the library's own decoder gives.
 *
 * <p>Threading: safe for use by many threads. {@link #close} only when no call is under way.
 */
public final class SubwordTokenizer implements AutoCloseable {
    private final HuggingFaceTokenizer tokenizer;
    private final Vocabulary vocabulary;
    private final SpecialIds special;
    private final int words;

    private SubwordTokenizer(HuggingFaceTokenizer tokenizer, Vocabulary vocabulary, SpecialIds special, int words) {
        this.tokenizer = tokenizer;
        this.vocabulary = vocabulary;
        this.special = special;
        this.words = words;
    }

    /**
     * Ids with a meaning of their own; of a text comes none of them but {@code unknown}, and all are left out of one.
     * {@code start} may be one of the others.
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

    /** A tokenizer whose every piece the model knows. */
    public static SubwordTokenizer load(Path file, SpecialIds special) throws IOException {
        return load(file, special, Integer.MAX_VALUE);
    }

    /**
     * @param words how many ids the model knows: a piece of a later id is the unknown word to it
     * @throws IOException when the file cannot be read or is no tokenizer; the message says what is wrong
     */
    public static SubwordTokenizer load(Path file, SpecialIds special, int words) throws IOException {
        Vocabulary vocabulary = Vocabulary.read(file);
        try {
            HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.newInstance(
                    file, Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false"));
            return new SubwordTokenizer(tokenizer, vocabulary, special, words);
        } catch (RuntimeException e) {
            throw new IOException(file + ": not a tokenizer: " + e.getMessage(), e);
        }
    }

    public int vocabularySize() {
        return vocabulary.size();
    }

    /** The id of what has no piece; empty when the file names none. */
    public OptionalLong unknownId() {
        return vocabulary.unknown();
    }

    /**
     * The ids of {@code text} followed by the end of the sentence; never truncated.
     *
     * @throws IllegalArgumentException when the text has half of a surrogate pair, which no encoding can hold
     */
    public TokenizedText tokenize(String text) {
        if (text.codePoints().anyMatch(point -> Character.getType(point) == Character.SURROGATE)) {
            throw new IllegalArgumentException("a text should be Unicode: has half of a surrogate pair");
        }
        Encoding encoding = tokenizer.encode(text, false, false);
        long[] found = encoding.getIds();
        CharSpan[] spans = encoding.getCharTokenSpans();
        int[] units = utf16Offsets(text);
        long[] ids = Arrays.copyOf(found, found.length + 1);
        ids[found.length] = special.end();
        List<TokenSpan> tokens = new ArrayList<>(ids.length);
        for (int i = 0; i < found.length; i++) {
            boolean unknown = ids[i] >= words || special.isSpecial(ids[i]); // a text that spells "</s>" has no end
            ids[i] = unknown ? special.unknown() : ids[i];
            tokens.add(span(ids[i], text, units[spans[i].getStart()], units[spans[i].getEnd()]));
        }
        tokens.add(new TokenSpan(piece(special.end()), text.length(), text.length()));
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

    /**
     * The text that target ids spell, without space around it, with spans; an end of sentence may be last. Special ids
     * get empty spans.
     */
    public TokenizedText detokenize(long[] ids) {
        StringBuilder spelled = new StringBuilder();
        int[][] spans = new int[ids.length][];
        List<Integer> run = new ArrayList<>();
        for (int i = 0; i < ids.length; i++) {
            if (vocabulary.isByte(ids[i])) {
                run.add(i);
                continue;
            }
            boolean silent = special.isSpecial(ids[i]);
            if (!silent || ids[i] == special.end()) {
                appendBytes(ids, run, spelled, spans);
            }
            int start = spelled.length();
            spelled.append(silent ? "" : vocabulary.spelled(ids[i]));
            spans[i] = new int[] {start, spelled.length()};
        }
        appendBytes(ids, run, spelled, spans);
        int first = skipSpaces(spelled, 0, spelled.length());
        String text = spelled.substring(first, skipSpacesBack(spelled, first, spelled.length()));
        List<TokenSpan> tokens = new ArrayList<>(ids.length);
        for (int i = 0; i < ids.length; i++) {
            int start = Math.max(0, Math.min(spans[i][0] - first, text.length()));
            int end = Math.max(0, Math.min(spans[i][1] - first, text.length()));
            tokens.add(span(ids[i], text, start, end));
        }
        boolean ended = ids.length > 0 && ids[ids.length - 1] == special.end();
        return new TokenizedText(text, ids, tokens, ended);
    }

    private String piece(long id) {
        return vocabulary.piece(id);
    }

    /**
     * Decodes a run of byte pieces together, and empties it; each of them gets the span of the whole run. A run that is
     * no UTF-8 becomes one replacement character for each byte, as in the library.
     */
    private void appendBytes(long[] ids, List<Integer> run, StringBuilder text, int[][] spans) {
        if (run.isEmpty()) {
            return;
        }
        ByteBuffer bytes = ByteBuffer.allocate(run.size());
        for (int i : run) {
            bytes.put(vocabulary.byteOf(ids[i]));
        }
        int start = text.length();
        try {
            text.append(StandardCharsets.UTF_8.newDecoder().decode(bytes.flip()));
        } catch (CharacterCodingException e) {
            text.append("\ufffd".repeat(run.size()));
        }
        for (int i : run) {
            spans[i] = new int[] {start, text.length()};
        }
        run.clear();
    }

    /** The span without the spaces at its ends. */
    private TokenSpan span(long id, String text, int start, int end) {
        int first = skipSpaces(text, start, end);
        return new TokenSpan(piece(id), first, skipSpacesBack(text, first, end));
    }

    private static int skipSpaces(CharSequence text, int start, int end) {
        int first = start;
        while (first < end && Words.isSpace(text.charAt(first))) {
            first++;
        }
        return first;
    }

    private static int skipSpacesBack(CharSequence text, int start, int end) {
        int last = end;
        while (last > start && Words.isSpace(text.charAt(last - 1))) {
            last--;
        }
        return last;
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
