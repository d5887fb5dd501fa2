package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import java.nio.LongBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LoopPlacementTest {
    private static final String CPU = "CPUExecutionProvider";

    @TempDir
    Path folder;

    @BeforeAll
    static void engineFirst() {
        ai.djl.engine.Engine.getEngine("OnnxRuntime"); // before OrtEnvironment is touched, or DJL breaks
    }

    private static OnnxTensor ids(long value, long... shape) throws Exception {
        long[] values = new long[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
        Arrays.fill(values, value);
        return OnnxTensor.createTensor(OrtEnvironment.getEnvironment(), LongBuffer.wrap(values), shape);
    }

    /** A profile of a real graph's two runs over three steps. */
    private Path profile() throws Exception {
        Path graph = TinyBundles.folder("attending").resolve(Bundle.MODEL);
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.enableProfiling(folder.resolve("run").toString());
            long rows = LoopPlacement.ROWS;
            try (OrtSession session = OrtEnvironment.getEnvironment().createSession(graph.toString(), options);
                    OnnxTensor source = ids(5, rows, 2);
                    OnnxTensor mask = ids(1, rows, 2);
                    OnnxTensor prefix = ids(5, rows, 2);
                    OnnxTensor limit = ids(3);
                    OnnxTensor beam = ids(2);
                    OnnxTensor best = ids(1)) {
                Map<String, OnnxTensor> inputs = Map.of(
                        "source_ids",
                        source,
                        "source_mask",
                        mask,
                        "target_prefix",
                        prefix,
                        "max_target_length",
                        limit,
                        "beam_size",
                        beam,
                        "best",
                        best);
                session.run(inputs).close();
                session.run(inputs).close();
                return Path.of(session.endProfiling());
            }
        }
    }

    @Test
    void shouldFindNothingElsewhereWhereEverythingBelongs() throws Exception {
        assertEquals(Map.of(), LoopPlacement.elsewhere(profile(), CPU));
    }

    @Test
    void shouldNameTheLoopsOperatorsThatAnotherProviderRuns() throws Exception {
        Map<String, Integer> found = LoopPlacement.elsewhere(profile(), "CUDAExecutionProvider");
        assertTrue(found.getOrDefault("Gemm", 0) + found.getOrDefault("MatMul", 0) > 0, found.toString());
        assertTrue(found.getOrDefault("TopK", 0) > 0, found.toString());
        assertTrue(!found.containsKey("Loop"), "its node is outside itself");
        assertTrue(!found.containsKey("Range"), "what the graph does before the loop");
    }

    @Test
    void shouldCountNeitherShapesNorWhatRunsOnceButCopiesBetweenDevices() throws Exception {
        String event =
                """
                {"cat":"Node","name":"%s_kernel_time","args":{"op_name":"%s","provider":"%s","node_index":"%d",
                 "input_type_shape":[{"float":%s}],"output_type_shape":[{"float":[]}]}}""";
        String cuda = "CUDAExecutionProvider";
        String run = "{\"cat\":\"Session\",\"name\":\"model_run\"}";
        String once = String.format(event, "encode", "Gemm", CPU, 1, "[97,8]");
        String shape = String.format(event, "size", "Concat", CPU, 2, "[4]");
        String copy = String.format(event, "", "MemcpyToHost", cuda, 3, "[97,4]");
        String here = String.format(event, "step", "Gemm", cuda, 4, "[97,8]");
        String there = String.format(event, "", "Mod", CPU, 5, "[97,8]");
        Path file = folder.resolve("profile.json");
        Files.writeString(
                file,
                "["
                        + String.join(",", run, once, shape, copy, here, there, shape, copy, here, there)
                        + ","
                        + String.join(",", run, once, shape, copy, here, there, shape, copy, here, there)
                        + "]");
        assertEquals(Map.of("MemcpyToHost", 1, "Mod", 1), LoopPlacement.elsewhere(file, cuda));
    }
}
