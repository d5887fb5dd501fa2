package io.dragoman.tokenize;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.Map;
import java.util.OptionalLong;
import java.util.regex.Pattern;

/**
 * The pieces of a {@code tokenizer.json}: an object of piece and id (byte-pair encoding), or an array of [piece, score]
 * in the order of ids (a unigram model).
 */
final class Vocabulary {
    private static final Pattern BYTE_PIECE = Pattern.compile("<0x([0-9A-F]{2})>");

    private static final char WORD_START = '\u2581';

    private final String[] pieces;
    private final String[] spelled;
    private final OptionalLong unknown;
    private final BitSet bytes = new BitSet(); // ids of pieces that stand for one

    /** @param written the pieces as the file has them */
    private Vocabulary(String[] written, OptionalLong unknown, boolean spellsBytes) {
        this.pieces = new String[written.length];
        this.spelled = new String[written.length];
        this.unknown = unknown;
        for (int id = 0; id < pieces.length; id++) {
            pieces[id] = piece(written[id], id);
            spelled[id] = pieces[id].replace(WORD_START, ' ');
            bytes.set(id, spellsBytes && BYTE_PIECE.matcher(pieces[id]).matches());
        }
    }

    /** @throws IOException when the file cannot be read or has no vocabulary; the message says what is wrong */
    static Vocabulary read(Path file) throws IOException {
        JsonNode model;
        try {
            model = new ObjectMapper().readTree(Files.readAllBytes(file)).path("model");
        } catch (JsonProcessingException e) {
            throw new IOException(file + ": not JSON: " + e.getOriginalMessage(), e);
        }
        JsonNode entries = model.path("vocab");
        if (!entries.isContainerNode() || entries.isEmpty()) {
            throw new IOException(file + ": should have a vocabulary at model.vocab");
        }
        String[] pieces = entries.isArray() ? unigramPieces(file, entries) : bytePairPieces(file, entries);
        return new Vocabulary(
                pieces, unknown(model, entries), model.path("byte_fallback").asBoolean(false));
    }

    private static String[] bytePairPieces(Path file, JsonNode entries) throws IOException {
        String[] pieces = new String[entries.size()];
        for (Map.Entry<String, JsonNode> entry : entries.properties()) {
            int id = entry.getValue().asInt(-1);
            if (id < 0 || id >= pieces.length || pieces[id] != null) {
                throw new IOException(file + ": ids should be 0 to " + (pieces.length - 1) + ", each once: was " + id);
            }
            pieces[id] = entry.getKey();
        }
        return pieces;
    }

    private static String[] unigramPieces(Path file, JsonNode entries) throws IOException {
        String[] pieces = new String[entries.size()];
        for (int id = 0; id < pieces.length; id++) {
            JsonNode entry = entries.get(id);
            if (entry.size() != 2
                    || !entry.path(0).isTextual()
                    || !entry.path(1).isNumber()) {
                throw new IOException(
                        file + ": entries of model.vocab should be [piece, score]: entry " + id + " was " + entry);
            }
            pieces[id] = entry.get(0).textValue();
        }
        return pieces;
    }

    private static OptionalLong unknown(JsonNode model, JsonNode entries) {
        JsonNode id = entries.isArray()
                ? model.path("unk_id")
                : entries.path(model.path("unk_token").asText(""));
        return id.isIntegralNumber() ? OptionalLong.of(id.longValue()) : OptionalLong.empty();
    }

    int size() {
        return pieces.length;
    }

    /** The id of what has no piece; empty when the file names none. */
    OptionalLong unknown() {
        return unknown;
    }

    /** A token's name. */
    String piece(long id) {
        return pieces[Math.toIntExact(id)];
    }

    /** What a token adds to a text. */
    String spelled(long id) {
        return spelled[Math.toIntExact(id)];
    }

    /**
     * In the file, a piece that no text may be cut into has U+2581 and its id after it, and a language token has U+0002
     * before it.
     */
    private static String piece(String written, int id) {
        String piece = written.startsWith("\u0002") ? written.substring(1) : written;
        String mark = "\u2581" + id;
        return piece.length() > mark.length() && piece.endsWith(mark)
                ? piece.substring(0, piece.length() - mark.length())
                : piece;
    }

    /** Whether the piece stands for one byte of UTF-8; never in a vocabulary that does not fall back to bytes. */
    boolean isByte(long id) {
        return bytes.get(Math.toIntExact(id));
    }

    byte byteOf(long id) {
        return (byte) Integer.parseInt(piece(id).substring(3, 5), 16);
    }
}
