package io.dragoman.infer;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractSymbolBlock;
import ai.djl.nn.ParameterList;
import ai.djl.onnxruntime.engine.OrtNDArray;
import ai.djl.training.ParameterStore;
import ai.djl.util.PairList;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/**
 * A graph as a block of DJL's, with what DJL's own block for ONNX Runtime lacks: a limit on how long a run may take.
 * ONNX Runtime looks between any two operators whether a run was told to end, in the loop's body too. The time is counted in
 * ticks of a clock that does not make up for missed ones: a machine that stood still for a while fails no run.
 *
 * <p>Threading: any number of runs at once. Ownership: closes the session.
 */
final class LimitedBlock extends AbstractSymbolBlock implements AutoCloseable {
    private static final int TICKS = 8;

    private final OrtSession session;
    private final Duration limit;
    private final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "dragoman-model-clock");
        thread.setDaemon(true);
        return thread;
    });

    LimitedBlock(OrtSession session, Duration limit) {
        this.session = session;
        this.limit = limit;
    }

    /** Options must not be closed under a clock that is just about to use them. */
    private static final class Leash implements AutoCloseable {
        private final OrtSession.RunOptions options = new OrtSession.RunOptions();
        private int left = TICKS;
        private boolean pulled;
        private boolean closed;

        Leash() throws OrtException {
            options.setLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
        }

        synchronized void tick() {
            if (!closed && --left == 0) {
                pulled = true;
                try {
                    options.setTerminate(true);
                } catch (OrtException e) {
                    throw new EngineException(e);
                }
            }
        }

        synchronized boolean pulled() {
            return pulled;
        }

        @Override
        public synchronized void close() {
            closed = true;
            options.close();
        }
    }

    @Override
    protected NDList forwardInternal(
            ParameterStore parameters, NDList inputs, boolean training, PairList<String, Object> extras) {
        Map<String, OnnxTensor> tensors = new HashMap<>();
        for (NDArray input : inputs) {
            tensors.put(input.getName(), ((OrtNDArray) input).getTensor());
        }
        try (Leash leash = new Leash()) {
            long tick = Math.max(1, limit.toNanos() / TICKS);
            ScheduledFuture<?> alarm = clock.scheduleWithFixedDelay(leash::tick, tick, tick, TimeUnit.NANOSECONDS);
            try (OrtSession.Result results = session.run(tensors, leash.options)) {
                return copy(results, inputs.head().getManager());
            } catch (OrtException e) {
                throw leash.pulled() ? ModelException.cutOff(limit) : new EngineException(e);
            } finally {
                alarm.cancel(false);
            }
        } catch (OrtException e) {
            throw new EngineException(e);
        }
    }

    private static NDList copy(OrtSession.Result results, NDManager manager) {
        NDList outputs = new NDList();
        for (Map.Entry<String, OnnxValue> result : results) {
            OnnxTensor tensor = (OnnxTensor) result.getValue();
            Shape shape = new Shape(tensor.getInfo().getShape());
            NDArray output =
                    switch (tensor.getInfo().type) {
                        case INT64 -> manager.create(tensor.getLongBuffer(), shape, DataType.INT64);
                        case FLOAT -> manager.create(tensor.getFloatBuffer(), shape, DataType.FLOAT32);
                        default ->
                            throw new ModelException("the graph's output " + result.getKey()
                                    + " should be int64 or float: was " + tensor.getInfo().type);
                    };
            output.setName(result.getKey());
            outputs.add(output);
        }
        return outputs;
    }

    @Override
    public PairList<String, Shape> describeInput() {
        PairList<String, Shape> inputs = new PairList<>();
        session.getInputNames().forEach(name -> inputs.add(name, new Shape()));
        return inputs;
    }

    @Override
    public Map<String, String> getCustomMetadata() {
        try {
            return session.getMetadata().getCustomMetadata();
        } catch (OrtException e) {
            throw new EngineException(e);
        }
    }

    @Override
    public ParameterList getDirectParameters() {
        return new ParameterList();
    }

    @Override
    public void close() throws OrtException {
        clock.shutdownNow();
        session.close();
    }
}
