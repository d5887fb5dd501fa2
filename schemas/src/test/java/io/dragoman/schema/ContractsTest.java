package io.dragoman.schema;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaCompatibility.SchemaCompatibilityType;
import org.apache.avro.SchemaCompatibility.SchemaPairCompatibility;
import org.apache.avro.SchemaNormalization;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumWriter;
import org.junit.jupiter.api.Test;

/** The contracts as a whole: each new schema reads the records of every release before it (BACKWARD_TRANSITIVE). */
class ContractsTest {
    private static final Path PRESENT = Path.of("src", "main", "avro");
    private static final Path RELEASED = Path.of("src", "test", "resources", "released");

    @Test
    void shouldHaveOneFileForEachRecordOfATopic() throws IOException {
        assertEquals(
                Set.of("Alignment.avsc", "Rejection.avsc", "SourceText.avsc", "Translation.avsc"),
                parse(PRESENT).keySet());
    }

    @Test
    void shouldGenerateTheClassesFromTheFiles() throws IOException {
        Set<Long> files = parse(PRESENT).values().stream()
                .map(SchemaNormalization::parsingFingerprint64)
                .collect(Collectors.toSet());
        Set<Long> generated = TrustedRecords.contracts().stream()
                .map(type -> SchemaNormalization.parsingFingerprint64(
                        SpecificData.get().getSchema(type)))
                .collect(Collectors.toSet());
        assertEquals(files, generated);
    }

    @Test
    void shouldReadWhatEveryReleaseWrote() throws IOException {
        Map<String, Schema> present = parse(PRESENT);
        int pairs = 0;
        for (Path release : folders(RELEASED)) {
            for (Map.Entry<String, Schema> old : parse(release).entrySet()) {
                Schema now = present.get(old.getKey());
                assertTrue(now != null, () -> release + " has " + old.getKey() + ", which is gone");
                assertEquals(List.of(), incompatibilities(now, old.getValue()), () -> release + ", " + old.getKey());
                pairs++;
            }
        }
        assertTrue(pairs >= 4, "release 1 has four contracts");
    }

    @Test
    void shouldLetReadersOfTheFirstReleaseSeeBlocksAsNoWeights() throws IOException {
        Alignment alignment = Alignment.newBuilder()
                .setId("id")
                .setSourceLanguage("fr")
                .setTargetLanguage("en")
                .setModel(new Model("m", "1", "00"))
                .setSourceTokens(List.of())
                .setTargetTokens(List.of())
                .setEncoding(WeightEncoding.FLOAT32_BLOCKS)
                .setEncodingError(0)
                .setWeights(ByteBuffer.allocate(0))
                .setTokenLinks(List.of())
                .setWordLinks(List.of())
                .setOrigin(new Origin("t", 0, 0L, 0L))
                .build();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
        new SpecificDatumWriter<>(Alignment.class).write(alignment, encoder);
        encoder.flush();
        Schema first = parseAlone(RELEASED.resolve("1").resolve("Alignment.avsc"));
        GenericRecord read = new GenericDatumReader<GenericRecord>(Alignment.getClassSchema(), first)
                .read(null, DecoderFactory.get().binaryDecoder(bytes.toByteArray(), null));
        assertEquals("NONE", read.get("encoding").toString());
    }

    @Test
    void shouldFindAChangeThatBreaksOldRecords() {
        Schema old = new Schema.Parser()
                .parse("{\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"a\", \"type\": \"int\"}]}");
        Schema withoutDefault = new Schema.Parser()
                .parse("{\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"a\", \"type\": \"int\"},"
                        + " {\"name\": \"b\", \"type\": \"int\"}]}");
        Schema withDefault = new Schema.Parser()
                .parse("{\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"a\", \"type\": \"int\"},"
                        + " {\"name\": \"b\", \"type\": \"int\", \"default\": 0}]}");
        assertEquals(1, incompatibilities(withoutDefault, old).size());
        assertEquals(List.of(), incompatibilities(withDefault, old));
    }

    @Test
    void shouldSayWhatEveryRecordFieldAndEnumerationIs() throws IOException {
        Set<String> silent = new TreeSet<>();
        parse(PRESENT).values().forEach(schema -> undocumented(schema, schema.getName(), silent));
        assertEquals(Set.of(), silent);
    }

    private static void undocumented(Schema schema, String path, Set<String> silent) {
        switch (schema.getType()) {
            case RECORD -> {
                note(schema.getDoc(), path + " (record)", silent);
                for (Schema.Field field : schema.getFields()) {
                    note(field.doc(), path + "." + field.name(), silent);
                    undocumented(field.schema(), path + "." + field.name(), silent);
                }
            }
            case ENUM -> note(schema.getDoc(), path + " (enum)", silent);
            case ARRAY -> undocumented(schema.getElementType(), path, silent);
            case MAP -> undocumented(schema.getValueType(), path, silent);
            case UNION -> schema.getTypes().forEach(type -> undocumented(type, path, silent));
            default -> {}
        }
    }

    private static void note(String doc, String path, Set<String> silent) {
        if (doc == null || doc.isBlank()) {
            silent.add(path);
        }
    }

    private static List<String> incompatibilities(Schema reader, Schema writer) {
        SchemaPairCompatibility found = SchemaCompatibility.checkReaderWriterCompatibility(reader, writer);
        return found.getType() == SchemaCompatibilityType.COMPATIBLE
                ? List.of()
                : found.getResult().getIncompatibilities().stream()
                        .map(Object::toString)
                        .toList();
    }

    /** Every schema by file name, each parsed without having seen the others. */
    private static Map<String, Schema> parse(Path folder) throws IOException {
        Map<String, Schema> schemas = new TreeMap<>();
        try (Stream<Path> files = Files.list(folder)) {
            files.forEach(file -> schemas.put(file.getFileName().toString(), parseAlone(file)));
        }
        return schemas;
    }

    private static Schema parseAlone(Path file) {
        try {
            Schema schema = new Schema.Parser().parse(file.toFile());
            assertEquals(file.getFileName().toString(), schema.getName() + ".avsc");
            assertEquals("io.dragoman.schema", schema.getNamespace());
            return schema;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static List<Path> folders(Path parent) throws IOException {
        try (Stream<Path> entries = Files.list(parent)) {
            return new ArrayList<>(entries.sorted().toList());
        }
    }
}
