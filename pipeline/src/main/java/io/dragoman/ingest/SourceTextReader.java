package io.dragoman.ingest;

import io.dragoman.config.LanguagePair;
import io.dragoman.config.Priority;
import io.dragoman.ingest.Refusal.Reason;
import io.dragoman.ingest.Refusal.Stage;
import io.dragoman.wire.RegistryException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.jspecify.annotations.Nullable;

/**
 * Bytes from strangers to a {@link SourceText}. Any input gives an answer; only a schema registry that
 * does not answer is thrown. Threading: safe for many threads.
 */
public final class SourceTextReader {
    public static final String SOURCE_LANGUAGE_HEADER = "source-language";
    public static final String TARGET_LANGUAGE_HEADER = "target-language";
    public static final String PRIORITY_HEADER = "priority";

    /** Most characters of an Avro text's id and attributes together: they are repeated in every record made from it. */
    static final int MAX_EXTRAS_CHARACTERS = 20_000;

    /** How a value is decoded. */
    public enum Format {
        TEXT,
        AVRO
    }

    private final Format format;
    private final AvroSourceDecoder avro;
    private final LanguagePair defaults;
    private final Set<LanguagePair> known;
    private final int maxCharacters;

    /**
     * @param defaults for texts that name no language
     * @param known pairs there is a model for
     * @param maxCharacters UTF-16 units; longer texts are refused
     */
    public SourceTextReader(
            Format format, AvroSourceDecoder avro, LanguagePair defaults, Set<LanguagePair> known, int maxCharacters) {
        this.format = format;
        this.avro = avro;
        this.defaults = defaults;
        this.known = Set.copyOf(known);
        this.maxCharacters = maxCharacters;
    }

    private record Draft(
            String id,
            String text,
            @Nullable String source,
            @Nullable String target,
            @Nullable String priority,
            Map<String, String> attributes) {}

    public Ingested read(Origin origin, Headers headers, byte[] value) {
        Draft draft;
        try {
            draft = format == Format.TEXT ? readText(origin, value) : readAvro(origin, value);
        } catch (CharacterCodingException e) {
            return refused(origin.id(), Reason.UNDECODABLE, "the value should be UTF-8 text: it is not");
        } catch (RegistryException e) {
            throw e; // not the record's fault
        } catch (IOException | RuntimeException e) {
            return refused(
                    origin.id(), Reason.UNDECODABLE, "the value should be an Avro SourceText: " + e.getMessage());
        }
        int extras = draft.id().length()
                + draft.attributes().entrySet().stream()
                        .mapToInt(entry ->
                                entry.getKey().length() + entry.getValue().length())
                        .sum();
        if (extras > MAX_EXTRAS_CHARACTERS) {
            return refused(
                    origin.id(),
                    Reason.TOO_LONG,
                    "id and attributes should have at most " + MAX_EXTRAS_CHARACTERS + " characters together: have "
                            + extras);
        }
        return check(draft, headers);
    }

    private static Draft readText(Origin origin, byte[] value) throws CharacterCodingException {
        String text = StandardCharsets.UTF_8
                .newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT)
                .decode(ByteBuffer.wrap(value))
                .toString();
        return new Draft(origin.id(), text, null, null, null, Map.of());
    }

    private Draft readAvro(Origin origin, byte[] value) throws IOException {
        io.dragoman.schema.SourceText record = avro.decode(value);
        String id = record.getId() == null ? origin.id() : record.getId();
        return new Draft(
                id,
                record.getText(),
                record.getSourceLanguage(),
                record.getTargetLanguage(),
                record.getPriority(),
                record.getAttributes());
    }

    private Ingested check(Draft draft, Headers headers) {
        String text = draft.text();
        if (text.codePoints().allMatch(SourceTextReader::isBlank)) {
            return refused(draft.id(), Reason.EMPTY, "there should be a text: it is empty or white space only");
        }
        if (text.codePoints().allMatch(point -> isBlank(point) || isControl(point))) {
            return refused(
                    draft.id(),
                    Reason.CONTROL_CHARACTERS_ONLY,
                    "there should be a visible character: all " + text.length() + " are control characters");
        }
        if (text.length() > maxCharacters) {
            return refused(
                    draft.id(),
                    Reason.TOO_LONG,
                    "a text should have at most " + maxCharacters + " characters (text.max.characters): has "
                            + text.length());
        }
        LanguagePair languages = new LanguagePair(
                first(draft.source(), header(headers, SOURCE_LANGUAGE_HEADER), defaults.source()),
                first(draft.target(), header(headers, TARGET_LANGUAGE_HEADER), defaults.target()));
        if (!known.contains(languages)) {
            String named = languages.isWellFormed() ? languages.toString() : "not language codes";
            return refused(
                    draft.id(),
                    Reason.UNKNOWN_LANGUAGE_PAIR,
                    "the languages should be one of "
                            + new TreeSet<>(
                                    known.stream().map(LanguagePair::toString).toList()) + ": were " + named);
        }
        Priority priority =
                Priority.named(first(draft.priority(), header(headers, PRIORITY_HEADER), Priority.NORMAL.toString()));
        return new Ingested.Accepted(new SourceText(draft.id(), text, languages, priority, draft.attributes()));
    }

    private static boolean isBlank(int point) {
        return Character.isWhitespace(point) || Character.isSpaceChar(point);
    }

    private static boolean isControl(int point) {
        int type = Character.getType(point);
        return type == Character.CONTROL
                || type == Character.FORMAT
                || type == Character.SURROGATE
                || type == Character.UNASSIGNED;
    }

    private static String first(@Nullable String stated, @Nullable String header, String fallback) {
        if (stated != null && !stated.isBlank()) {
            return stated;
        }
        return header != null && !header.isBlank() ? header : fallback;
    }

    private static @Nullable String header(Headers headers, String name) {
        Header header = headers.lastHeader(name);
        return header == null || header.value() == null ? null : new String(header.value(), StandardCharsets.UTF_8);
    }

    private static Ingested refused(String id, Reason reason, String explanation) {
        return new Ingested.Refused(new Refusal(id, reason, Stage.INGEST, explanation));
    }
}
