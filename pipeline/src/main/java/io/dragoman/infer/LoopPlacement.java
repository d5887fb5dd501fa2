package io.dragoman.infer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Where ONNX Runtime runs what is in the decoding loop, read from its profile of a run of several steps.
 *
 * <p>An operator without a kernel on the GPU runs on the CPU without a word, and its values cross over and back in every step.
 * Arithmetic on shapes is meant to be there, so only nodes that touch more than {@value #SHAPE} numbers count; the
 * profiled run has {@link #ROWS} sentences, so that whatever is of sentences has more. What ran more often than the graph is in the loop.
 */
final class LoopPlacement {
    /** Sentences of the profiled run. */
    static final int ROWS = 97;
    /** Most numbers of what is a shape, or one number. */
    private static final int SHAPE = 16;

    private LoopPlacement() {}

    /**
     * The loop's nodes that are not run by {@code provider}, or copy between it and the CPU: operators and how often each
     * is there; empty when there are none.
     *
     * @param profile as {@code OrtSession.endProfiling} left it
     * @throws IOException when it cannot be read
     */
    static Map<String, Integer> elsewhere(Path profile, String provider) throws IOException {
        Map<String, Integer> runs = new HashMap<>();
        Map<String, String> operators = new TreeMap<>();
        int graphs = 0;
        for (JsonNode event : new ObjectMapper().readTree(profile.toFile())) {
            JsonNode facts = event.path("args");
            graphs += event.path("name").asText().equals("model_run") ? 1 : 0;
            if (!event.path("cat").asText().equals("Node") || !facts.has("provider")) {
                continue;
            }
            String node =
                    event.path("name").asText() + " " + facts.path("node_index").asText();
            runs.merge(node, 1, Integer::sum);
            String operator = facts.path("op_name").asText();
            boolean here = facts.path("provider").asText().equals(provider) && !operator.startsWith("Memcpy");
            if (!here && largest(facts) > SHAPE) {
                operators.put(node, operator);
            }
        }
        int once = Math.max(1, graphs);
        Map<String, Integer> found = new TreeMap<>();
        operators.forEach((node, operator) -> {
            if (runs.getOrDefault(node, 0) > once) {
                found.merge(operator, 1, Integer::sum);
            }
        });
        return found;
    }

    /** How many numbers the largest tensor has that goes in or comes out. */
    private static long largest(JsonNode facts) {
        List<JsonNode> tensors = new ArrayList<>();
        facts.path("input_type_shape").forEach(tensors::add);
        facts.path("output_type_shape").forEach(tensors::add);
        long largest = 0;
        for (JsonNode tensor : tensors) { // {"float": [97, 4, 12]}
            for (JsonNode shape : tensor) {
                long numbers = 1;
                for (JsonNode size : shape) {
                    numbers *= size.asLong();
                }
                largest = Math.max(largest, numbers);
            }
        }
        return largest;
    }
}
