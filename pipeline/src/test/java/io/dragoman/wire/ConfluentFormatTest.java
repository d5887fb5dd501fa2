package io.dragoman.wire;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.schema.Header;
import io.dragoman.schema.SourceText;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class ConfluentFormatTest {
    private static final SourceText TEXT = new SourceText("id-1", "Où ? 😀", "fr", "en", null, Map.of("page", "7"));

    private FakeRegistry registry;
    private ConfluentFormat format;

    @BeforeEach
    void start() throws IOException {
        registry = new FakeRegistry();
        format = new ConfluentFormat(registry.url(), "", true);
    }

    @AfterEach
    void stop() {
        registry.close();
    }

    @Test
    void shouldBeginWithAZeroByteAndTheSchemasId() {
        byte[] value = format.encode("t", new Header("a", null));
        assertArrayEquals(
                new byte[] {
                    0, // magic
                    0,
                    0,
                    0,
                    2, // id
                    2,
                    'a', // name
                    0 // the first of null and bytes
                },
                value);
    }

    @Test
    void shouldGiveARecordBack() throws IOException {
        assertEquals(TEXT, format.decode(format.encode("t", TEXT), SourceText.class));
        ConfluentFormat another = new ConfluentFormat(registry.url() + "/", "", false);
        assertEquals(TEXT, another.decode(another.encode("t", TEXT), SourceText.class));
    }

    @Test
    void shouldAskOnceForEachTopicAndEachId() throws IOException {
        format.prepare("t", TEXT.getSchema());
        for (int i = 0; i < 5; i++) {
            format.decode(format.encode("t", TEXT), SourceText.class);
        }
        assertEquals(List.of("POST /subjects/t-value/versions", "GET /schemas/ids/2"), registry.calls());
    }

    @Test
    void shouldReadARecordOfAnOlderSchema() throws IOException {
        Schema older = new Schema.Parser()
                .parse("{\"type\": \"record\", \"name\": \"SourceText\", \"namespace\": \"io.dragoman.schema\","
                        + " \"fields\": [{\"name\": \"text\", \"type\": \"string\"}]}");
        int id = registry.add("t-value", older);
        byte[] value = {0, 0, 0, 0, (byte) id, 4, 'h', 'i'};
        assertEquals(new SourceText(null, "hi", null, null, null, Map.of()), format.decode(value, SourceText.class));
    }

    @Test
    void shouldNotRegisterWhenItMayNot() {
        ConfluentFormat careful = new ConfluentFormat(registry.url(), "", false);
        RegistryException e = assertThrows(RegistryException.class, () -> careful.prepare("t", TEXT.getSchema()));
        assertEquals(
                "the schema registry refuses subject t-value: status 404, Subject not found"
                        + " (register it, or set auto.register.schemas)",
                e.getMessage());
        registry.add("t-value", TEXT.getSchema());
        careful.prepare("t", TEXT.getSchema());
        assertEquals(List.of("POST /subjects/t-value", "POST /subjects/t-value"), registry.calls());
    }

    @Test
    void shouldSayWhyASchemaIsRefused() {
        registry.answering(409, "{\"error_code\": 409, \"message\": \"incompatible with an earlier schema\"}");
        RegistryException e = assertThrows(RegistryException.class, () -> format.encode("t", TEXT));
        assertEquals(
                "the schema registry refuses subject t-value: status 409, incompatible with an earlier schema",
                e.getMessage());
    }

    @Test
    void shouldBlameTheRecordForAnIdNobodyKnows() {
        IOException e =
                assertThrows(IOException.class, () -> format.decode(new byte[] {0, 0, 0, 0, 99, 0}, SourceText.class));
        assertEquals("the schema registry has no schema with the id 99", e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 4})
    void shouldRefuseAValueWithoutAHeader(int length) {
        IOException e = assertThrows(IOException.class, () -> format.decode(new byte[length], SourceText.class));
        assertEquals("it does not start with a zero byte and a schema id", e.getMessage());
        assertEquals(List.of(), registry.calls());
    }

    @Test
    void shouldRefuseSingleObjectsAndLeftOvers() throws IOException {
        ByteBuffer single = SourceText.getEncoder().encode(TEXT);
        byte[] bytes = new byte[single.remaining()];
        single.get(bytes);
        assertThrows(IOException.class, () -> format.decode(bytes, SourceText.class));
        byte[] whole = format.encode("t", TEXT);
        IOException e = assertThrows(
                IOException.class, () -> format.decode(Arrays.copyOf(whole, whole.length + 1), SourceText.class));
        assertEquals("bytes are left after the record", e.getMessage());
        assertThrows(IOException.class, () -> format.decode(Arrays.copyOf(whole, whole.length - 1), SourceText.class));
    }

    @Test
    void shouldBlameTheRegistryWhenItFails() {
        registry.answering(500, "{\"message\": \"out of order\"}");
        RegistryException e = assertThrows(
                RegistryException.class, () -> format.decode(new byte[] {0, 0, 0, 0, 2, 0}, SourceText.class));
        assertEquals("the schema registry answers status 500 for schema 2: out of order", e.getMessage());
        registry.answering(200, "<html>");
        e = assertThrows(RegistryException.class, () -> format.decode(new byte[] {0, 0, 0, 0, 2, 0}, SourceText.class));
        assertEquals("the schema registry at " + registry.url() + " does not answer in JSON", e.getMessage());
        registry.answering(200, "{\"schema\": \"no\"}");
        e = assertThrows(RegistryException.class, () -> format.decode(new byte[] {0, 0, 0, 0, 2, 0}, SourceText.class));
        assertEquals("the schema registry's schema 2 is no Avro schema", e.getMessage());
    }

    @Test
    void shouldTryAgainAfterAFailure() throws IOException {
        registry.answering(503, "{}");
        assertThrows(RegistryException.class, () -> format.encode("t", TEXT));
        registry.answering(0, "");
        assertEquals(TEXT, format.decode(format.encode("t", TEXT), SourceText.class));
    }

    @Test
    void shouldSayWhenNobodyAnswersOrTheAddressIsNone() {
        ConfluentFormat nobody = new ConfluentFormat("http://127.0.0.1:1", "", true);
        RegistryException e = assertThrows(RegistryException.class, () -> nobody.encode("t", TEXT));
        assertTrue(
                e.getMessage().startsWith("the schema registry at http://127.0.0.1:1 does not answer: "),
                e.getMessage());
        assertTrue(e.getMessage().endsWith("; check schema.registry.url"), e.getMessage());
        for (String address : List.of("registry:8081", "not an address", "ftp://registry")) {
            ConfluentFormat wrong = new ConfluentFormat(address, "", true);
            e = assertThrows(RegistryException.class, () -> wrong.encode("t", TEXT));
            assertEquals("schema.registry.url should be an http or https address: was " + address, e.getMessage());
        }
    }

    @Test
    void shouldSayWhoItIsOnlyWhenTold() {
        format.encode("t", TEXT);
        assertNull(registry.authorization());
        new ConfluentFormat(registry.url(), "ann:sécret", true).encode("t", TEXT);
        assertEquals("Basic YW5uOnPDqWNyZXQ=", registry.authorization());
    }
}
