package io.dragoman.wire;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.Optional;
import org.apache.avro.Schema;
import org.apache.avro.SchemaParseException;

/**
 * The three calls of the Confluent Schema Registry's REST interface that are needed. No client library for it is on Maven
 * Central, and other registries (Apicurio, Redpanda, Karapace) offer the same interface. Threading: safe for many threads.
 */
final class SchemaRegistry {
    private static final Duration PATIENCE = Duration.ofSeconds(10);
    private static final String TYPE = "application/vnd.schemaregistry.v1+json";

    private final HttpClient client =
            HttpClient.newBuilder().connectTimeout(PATIENCE).build();
    private final ObjectMapper mapper = new ObjectMapper();
    private final String url;
    private final String userInfo;

    /** @param userInfo {@code user:password}, or empty */
    SchemaRegistry(String url, String userInfo) {
        this.url = url.endsWith("/") ? url.substring(0, url.length() - 1) : url;
        this.userInfo = userInfo;
    }

    /** The id of a schema under a subject, registering it when it is new there. */
    int register(String subject, Schema schema) {
        return id(subject, schema, "/versions");
    }

    /** The id of a schema that is there already. */
    int lookUp(String subject, Schema schema) {
        return id(subject, schema, "");
    }

    private int id(String subject, Schema schema, String path) {
        String body = mapper.createObjectNode().put("schema", schema.toString()).toString();
        String where = url + "/subjects/" + URLEncoder.encode(subject, StandardCharsets.UTF_8) + path;
        HttpResponse<String> response = send(
                request(where).POST(HttpRequest.BodyPublishers.ofString(body)).header("Content-Type", TYPE));
        JsonNode id = json(response).path("id");
        if (response.statusCode() != 200 || !id.isInt()) {
            throw new RegistryException("the schema registry refuses subject " + subject + ": status "
                    + response.statusCode() + ", " + message(response)
                    + (response.statusCode() == 404 ? " (register it, or set auto.register.schemas)" : ""));
        }
        return id.asInt();
    }

    /** The schema with an id; empty when the registry has none. */
    Optional<Schema> schema(int id) {
        HttpResponse<String> response = send(request(url + "/schemas/ids/" + id).GET());
        if (response.statusCode() == 404) {
            return Optional.empty();
        }
        if (response.statusCode() != 200) {
            throw new RegistryException("the schema registry answers status " + response.statusCode() + " for schema "
                    + id + ": " + message(response));
        }
        try {
            return Optional.of(
                    new Schema.Parser().parse(json(response).path("schema").asText()));
        } catch (SchemaParseException e) {
            throw new RegistryException("the schema registry's schema " + id + " is no Avro schema", e);
        }
    }

    private HttpRequest.Builder request(String where) {
        HttpRequest.Builder builder;
        try {
            builder = HttpRequest.newBuilder(URI.create(where));
        } catch (IllegalArgumentException e) {
            throw new RegistryException("schema.registry.url should be an http or https address: was " + url, e);
        }
        builder.timeout(PATIENCE).header("Accept", TYPE);
        if (!userInfo.isEmpty()) {
            String encoded = Base64.getEncoder().encodeToString(userInfo.getBytes(StandardCharsets.UTF_8));
            builder.header("Authorization", "Basic " + encoded);
        }
        return builder;
    }

    private HttpResponse<String> send(HttpRequest.Builder request) {
        try {
            return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        } catch (IOException e) {
            throw new RegistryException(
                    "the schema registry at " + url + " does not answer: " + e + "; check schema.registry.url", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new RegistryException("interrupted while waiting for the schema registry", e);
        }
    }

    private JsonNode json(HttpResponse<String> response) {
        try {
            return mapper.readTree(response.body());
        } catch (JsonProcessingException e) {
            throw new RegistryException("the schema registry at " + url + " does not answer in JSON", e);
        }
    }

    private String message(HttpResponse<String> response) {
        return json(response).path("message").asText("no reason given");
    }
}
