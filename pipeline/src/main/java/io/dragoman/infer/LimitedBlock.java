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
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/**
 * A graph as a block of DJL's, with what DJL's own block for ONNX Runtime lacks: runs can be cut off, when they take too
 * long and when the session is closed under them. ONNX Runtime looks between any two operators whether a run was told to
 * end, in the loop's body too.
 *
 * <p>A run's time is its thread's processor time: a machine that is busy with other things or stood still fails no run, and a
 * graph whose loop does not end is found all the same.
 *
 * <p>Threading: any number of runs at once. Ownership: closes the session.
 */
final class LimitedBlock extends AbstractSymbolBlock implements AutoCloseable {
    private static final int LOOKS = 8;
    private static final Duration LAST_RUNS = Duration.ofSeconds(5);

    private final OrtSession session;
    private final Duration limit;
    private final Set<Leash> running = new HashSet<>(); // guarded by this, as is the next
    private boolean closed;
    private final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "dragoman-model-clock");
        thread.setDaemon(true);
        return thread;
    });

    LimitedBlock(OrtSession session, Duration limit) {
        this.session = session;
        this.limit = limit;
    }

    /** Belongs to the thread that makes it. Options must not be closed under a clock that is just about to use them. */
    private static final class Leash implements AutoCloseable {
        private final OrtSession.RunOptions options = new OrtSession.RunOptions();
        private final ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        private final long owner = Thread.currentThread().getId();
        private final long start = threads.getThreadCpuTime(owner);
        private boolean pulled;
        private boolean closed;

        Leash() throws OrtException {
            options.setLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
        }

        void look(Duration limit) {
            if (threads.getThreadCpuTime(owner) - start >= limit.toNanos()) {
                pull();
            }
        }

        synchronized void pull() {
            if (!closed) {
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
        long pause = Math.max(1, limit.toNanos() / LOOKS);
        try (Leash leash = new Leash()) {
            begin(leash);
            ScheduledFuture<?> looks =
                    clock.scheduleWithFixedDelay(() -> leash.look(limit), pause, pause, TimeUnit.NANOSECONDS);
            try (OrtSession.Result results = session.run(tensors, leash.options)) {
                return copy(results, inputs.head().getManager());
            } catch (OrtException e) {
                throw leash.pulled() ? ModelException.cutOff(limit) : new EngineException(e);
            } finally {
                looks.cancel(false);
                end(leash);
            }
        } catch (OrtException e) {
            throw new EngineException(e);
        }
    }

    private synchronized void begin(Leash leash) {
        if (closed) {
            throw new ModelException("the model is closed");
        }
        running.add(leash);
    }

    private synchronized void end(Leash leash) {
        running.remove(leash);
        notifyAll();
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

    /** Cuts off what runs. A run that cannot be cut off keeps its session: freeing it would end the JVM. */
    @Override
    public synchronized void close() throws OrtException {
        if (closed) {
            return;
        }
        closed = true;
        running.forEach(Leash::pull);
        long end = System.nanoTime() + LAST_RUNS.toNanos();
        try {
            for (long left = LAST_RUNS.toMillis(); !running.isEmpty() && left > 0; left = millisTo(end)) {
                wait(left);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        if (running.isEmpty()) {
            clock.shutdownNow();
            session.close();
        }
    }

    private static long millisTo(long end) {
        return TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
    }
}
