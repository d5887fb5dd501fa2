package io.dragoman.wire;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.dragoman.schema.Link;
import io.dragoman.schema.SourceText;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ConfluentFormatTest {
    private static final SourceText RECORD =
            SourceText.newBuilder().setId("1").setText("Oui").build();

    private Registry registry;

    @BeforeEach
    void startRegistry() throws IOException {
        registry = new Registry();
    }

    @AfterEach
    void stopRegistry() {
        registry.server.stop(0);
    }

    private ConfluentFormat format(boolean autoRegister) {
        return new ConfluentFormat(registry.url(), "", autoRegister);
    }

    @Test
    void shouldWriteAZeroByteTheIdInFourBytesAndAvroBinary() {
        byte[] value = format(true).encode("links", new Link(1, -2));
        assertArrayEquals(new byte[] {0, 0, 0, 0, 1, 2, 3}, value); // 1 and -2 as zig-zag integers
        assertEquals(List.of("POST /subjects/links-value/versions"), registry.calls);
    }

    @Test
    void shouldAskForAnIdOnceAndForASchemaOnce() throws IOException {
        ConfluentFormat format = format(true);
        byte[] value = format.encode("t", RECORD);
        format.encode("t", RECORD);
        ConfluentFormat reader = format(true);
        assertEquals("Oui", reader.decode(value, SourceText.class).getText());
        assertEquals("Oui", reader.decode(value, SourceText.class).getText());
        assertEquals(List.of("POST /subjects/t-value/versions", "GET /schemas/ids/1"), registry.calls);
    }

    @Test
    void shouldReadARecordOfAWriterWithAnotherSchema() throws IOException {
        Schema other = new Schema.Parser()
                .parse("{\"type\":\"record\",\"name\":\"SourceText\",\"namespace\":\"io.dragoman.schema\",\"fields\":["
                        + "{\"name\":\"text\",\"type\":\"string\"},{\"name\":\"unknown\",\"type\":\"int\"}]}");
        registry.schemas.put(7, other.toString());
        byte[] value = {0, 0, 0, 0, 7, 6, 'O', 'u', 'i', 4};
        SourceText record = format(true).decode(value, SourceText.class);
        assertEquals("Oui", record.getText());
        assertEquals(Map.of(), record.getAttributes());
    }

    @Test
    void shouldSendThePasswordAsBasicAuthentication() {
        new ConfluentFormat(registry.url(), "ann:secret", true).prepare("t", RECORD.getSchema());
        assertEquals("Basic YW5uOnNlY3JldA==", registry.authorization);
    }

    @Test
    void shouldSayWhatToDoWhenASchemaIsNotThereAndMayNotBeRegistered() {
        RegistryException refused =
                assertThrows(RegistryException.class, () -> format(false).prepare("t", RECORD.getSchema()));
        assertEquals(
                "the schema registry refuses subject t-value: status 404, Subject not found (register it, or set"
                        + " auto.register.schemas)",
                refused.getMessage());
    }

    @Test
    void shouldRefuseBytesThatAreNoSuchRecord() throws IOException {
        ConfluentFormat format = format(true);
        byte[] value = format.encode("t", RECORD);
        byte[] longer = Arrays.copyOf(value, value.length + 1);
        byte[] shorter = Arrays.copyOf(value, value.length - 3);
        assertThrows(IOException.class, () -> format.decode(new byte[0], SourceText.class));
        assertThrows(IOException.class, () -> format.decode("plain text".getBytes(), SourceText.class));
        assertThrows(IOException.class, () -> format.decode(longer, SourceText.class));
        assertThrows(IOException.class, () -> format.decode(shorter, SourceText.class));
        IOException unknown =
                assertThrows(IOException.class, () -> format.decode(new byte[] {0, 0, 0, 0, 99}, SourceText.class));
        assertEquals("the schema registry has no schema with the id 99", unknown.getMessage());
    }

    @Test
    void shouldNotBlameTheRecordWhenTheRegistryIsAway() {
        registry.server.stop(0);
        RegistryException away = assertThrows(
                RegistryException.class, () -> format(true).decode(new byte[] {0, 0, 0, 0, 1, 2}, SourceText.class));
        assertTrue(away.getMessage().endsWith("check schema.registry.url"), away.getMessage());
        assertThrows(RegistryException.class, () -> new ConfluentFormat("not a url", "", true)
                .prepare("t", RECORD.getSchema()));
    }

    /** The three calls, as Confluent's documentation gives them; what a real registry does was tried by hand. */
    private static final class Registry {
        final Map<Integer, String> schemas = new LinkedHashMap<>();
        final List<String> calls = new ArrayList<>();
        final HttpServer server;
        String authorization = "";

        private final ObjectMapper mapper = new ObjectMapper();

        Registry() throws IOException {
            server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
            server.createContext("/", this::answer);
            server.start();
        }

        String url() {
            return "http://127.0.0.1:" + server.getAddress().getPort() + "/";
        }

        private void answer(HttpExchange exchange) throws IOException {
            String path = exchange.getRequestURI().getPath();
            calls.add(exchange.getRequestMethod() + " " + path);
            String given = exchange.getRequestHeaders().getFirst("Authorization");
            authorization = given == null ? "" : given;
            ObjectNode reply = mapper.createObjectNode();
            int status = 200;
            if (path.endsWith("/versions")) {
                String schema =
                        mapper.readTree(exchange.getRequestBody()).get("schema").asText();
                schemas.put(schemas.size() + 1, schema);
                reply.put("id", schemas.size());
            } else if (path.startsWith("/schemas/ids/")
                    && schemas.containsKey(Integer.parseInt(path.substring("/schemas/ids/".length())))) {
                reply.put("schema", schemas.get(Integer.parseInt(path.substring("/schemas/ids/".length()))));
            } else {
                status = 404;
                reply.put("error_code", 40401)
                        .put("message", path.startsWith("/schemas") ? "Schema not found" : "Subject not found");
            }
            byte[] body = mapper.writeValueAsBytes(reply);
            exchange.sendResponseHeaders(status, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        }
    }
}
