package io.dragoman.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.avro.Schema;

/** The calls of Confluent's Schema Registry that are needed, in memory, on a free port of the loopback interface. */
final class FakeRegistry implements AutoCloseable {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    private final HttpServer server;
    private final List<String> schemas = new ArrayList<>(List.of("unused", "unused"));
    private final Map<String, Integer> subjects = new ConcurrentHashMap<>();
    private final List<String> calls = new CopyOnWriteArrayList<>();
    private volatile String authorization;
    private volatile int status;
    private volatile String answer = "";

    FakeRegistry() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", this::handle);
        server.start();
    }

    String url() {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    /** Puts a schema under a subject, as another producer would; ids count from 2. */
    synchronized int add(String subject, Schema schema) {
        schemas.add(schema.toString());
        subjects.put(subject, schemas.size() - 1);
        return schemas.size() - 1;
    }

    /** From now on every call is answered so. */
    void answering(int code, String body) {
        answer = body;
        status = code;
    }

    /** Method and path of every call so far. */
    List<String> calls() {
        return List.copyOf(calls);
    }

    /** The header of the last call, or null. */
    String authorization() {
        return authorization;
    }

    private synchronized void handle(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath();
        calls.add(exchange.getRequestMethod() + " " + path);
        authorization = exchange.getRequestHeaders().getFirst("Authorization");
        JsonNode body = MAPPER.readTree(exchange.getRequestBody());
        if (status != 0) {
            respond(exchange, status, answer);
        } else if (path.startsWith("/schemas/ids/")) {
            int id = Integer.parseInt(path.substring("/schemas/ids/".length()));
            if (id < 2 || id >= schemas.size()) {
                respond(exchange, 404, "{\"error_code\": 40403, \"message\": \"Schema not found\"}");
            } else {
                respond(
                        exchange,
                        200,
                        MAPPER.createObjectNode().put("schema", schemas.get(id)).toString());
            }
        } else {
            subject(exchange, path.split("/"), body.path("schema").asText());
        }
    }

    /** {@code /subjects/S/versions} registers, {@code /subjects/S} looks up. */
    private void subject(HttpExchange exchange, String[] path, String schema) throws IOException {
        String subject = path[2];
        if (path.length == 4 && !subjects.containsKey(subject)) {
            add(subject, new Schema.Parser().parse(schema));
        }
        Integer id = subjects.get(subject);
        if (id == null) {
            respond(exchange, 404, "{\"error_code\": 40401, \"message\": \"Subject not found\"}");
        } else {
            respond(exchange, 200, "{\"id\": " + id + "}");
        }
    }

    private static void respond(HttpExchange exchange, int code, String body) throws IOException {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(code, bytes.length);
        try (OutputStream out = exchange.getResponseBody()) {
            out.write(bytes);
        }
    }

    @Override
    public void close() {
        server.stop(0);
    }
}
