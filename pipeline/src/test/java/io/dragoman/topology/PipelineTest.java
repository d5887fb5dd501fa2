package io.dragoman.topology;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.dragoman.batch.BatchLimits;
import io.dragoman.batch.Widths;
import io.dragoman.config.DragomanConfig;
import io.dragoman.infer.BundleException;
import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.DecodingOptions;
import io.dragoman.infer.FakeTranslationModel;
import io.dragoman.infer.OnnxTranslationModel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What settings become; a whole pipeline needs a bundle and a broker. */
class PipelineTest {
    private static DragomanConfig config(String... settings) {
        Map<String, String> all = new HashMap<>(Map.of("bootstrap.servers", "127.0.0.1:1"));
        for (int i = 0; i < settings.length; i += 2) {
            all.put(settings[i], settings[i + 1]);
        }
        return DragomanConfig.of(all);
    }

    @Test
    void shouldLookForANamedBundleAtHome(@TempDir Path home) {
        assertEquals(home.resolve("model-export/bundles/no-such"), Pipeline.bundleFolder(home, "no-such"));
        assertEquals(Path.of("/models/fr-en"), Pipeline.bundleFolder(home, "/models/fr-en"));
        assertEquals(Path.of("models/fr-en"), Pipeline.bundleFolder(home, "models/fr-en"));
        assertEquals(Path.of("src"), Pipeline.bundleFolder(home, "src"), "a folder here is meant");
    }

    @Test
    void shouldSearchAsTheBundleSaysUnlessToldOtherwise() {
        var manifest = FakeTranslationModel.manifest("fr", "en", 20);
        assertEquals(new DecodingOptions(1, 30, 1.0), Pipeline.options(config(), manifest));
        assertEquals(new DecodingOptions(6, 1, 30, 1.0), Pipeline.options(config("model.beam.size", "6"), manifest));
        assertEquals(
                new DecodingOptions(6, 3, 30, 1.0),
                Pipeline.options(config("model.beam.size", "6", "model.n.best", "3"), manifest));
    }

    @Test
    void shouldTakeBatchLimitsFromTheSettings() {
        var manifest = FakeTranslationModel.manifest("fr", "en", 20);
        assertEquals(
                new BatchLimits(64, 4096, Duration.ofMillis(5), 4096, 256, Duration.ofSeconds(2)),
                Pipeline.batchLimits(config(), manifest));
        assertEquals(
                new BatchLimits(8, 99, Duration.ZERO, 7, 256, Duration.ofSeconds(2)),
                Pipeline.batchLimits(
                        config(
                                "batch.max.rows",
                                "8",
                                "batch.max.tokens",
                                "99",
                                "batch.linger.ms",
                                "0",
                                "batch.window.rows",
                                "7"),
                        manifest));
    }

    @Test
    void shouldTakeAsManySentencesAsMakeSoManyHypothesesUnlessToldOtherwise() {
        var manifest = FakeTranslationModel.manifest("fr", "en", 20);
        assertEquals(48, rows(manifest, "model.beam.size", "4"));
        assertEquals(64, rows(manifest, "model.beam.size", "1"));
        assertEquals(3, rows(manifest, "model.beam.size", "64"));
        assertEquals(5, rows(manifest, "model.beam.size", "4", "batch.max.rows", "5"));
        assertEquals(256, rows(manifest, "model.beam.size", "4", "model.device", "cuda"));
    }

    @Test
    void shouldMakeLargeBatchesOfFewWidthsOnAGpu() {
        var manifest = FakeTranslationModel.manifest("fr", "en", 20);
        BatchLimits limits = Pipeline.batchLimits(config("model.device", "cuda:1"), manifest);
        assertEquals(new Widths(true, 20), limits.widths());
        assertEquals(16_384, limits.paddedTokens());
        assertEquals(16_384, limits.runCost());
        assertEquals(
                new OnnxTranslationModel.Placement(new OnnxTranslationModel.Gpu(1, 3_000_000_000L), 1, 1),
                Pipeline.placement(config("model.device", "cuda:1", "model.cuda.memory.mb", "3000")));
        assertEquals(new OnnxTranslationModel.Placement(null, 1, 3), Pipeline.placement(config("model.workers", "3")));
    }

    private static int rows(BundleManifest manifest, String... settings) {
        return Pipeline.batchLimits(config(settings), manifest).rows();
    }

    @Test
    void shouldFetchAsMuchOfAPartitionAsIsReadAhead() {
        assertEquals(65_536, Pipeline.fetchedBytes(100));
        assertEquals(65_536, Pipeline.fetchedBytes(1_000));
        assertEquals(256_000, Pipeline.fetchedBytes(4_000));
        assertEquals(1_048_576, Pipeline.fetchedBytes(100_000));
    }

    @Test
    void shouldKeepRecordsUntilTheCommit() {
        assertEquals(500, Pipeline.linger(250));
        assertEquals(10_000, Pipeline.linger(Integer.MAX_VALUE), "a producer takes no more than its delivery timeout");
    }

    @Test
    void shouldRunAWorkerForEachCoreUnlessToldOtherwise() {
        int cores = Runtime.getRuntime().availableProcessors();
        assertEquals(cores, Pipeline.workers(config()));
        assertEquals(3, Pipeline.workers(config("model.workers", "3")));
        assertEquals(1, Pipeline.workers(config("model.threads", String.valueOf(cores))));
        assertEquals(1, Pipeline.workers(config("model.threads", "256")));
        assertEquals(1, Pipeline.workers(config("model.device", "cuda")));
        assertEquals(2, Pipeline.workers(config("model.device", "cuda", "model.workers", "2")));
    }

    @Test
    void shouldNotOpenWithoutABundle(@TempDir Path home) {
        BundleException e = assertThrows(BundleException.class, () -> Pipeline.open(config(), home));
        assertEquals(List.of("bundle.json is missing: is this a model folder?"), e.faults());
    }
}
