package io.dragoman.infer;

import io.dragoman.batch.BatchAssembler;
import io.dragoman.batch.BatchLimits;
import io.dragoman.batch.PaddedBatch;
import io.dragoman.batch.Widths;
import io.dragoman.config.Priority;
import io.dragoman.metrics.Meters;
import io.dragoman.metrics.Metric;
import io.dragoman.tokenize.TokenizedText;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One model, one queue, a few workers: sentences of all callers are batched together.
 *
 * <p>The life of a sentence: (1) {@link #submit} puts it in the queue and returns a future. (2) A free worker takes a
 * batch when one is due. (3) The model runs. (4) The futures complete with what became of their sentences. When a run
 * fails, the batch is halved and run again until the sentence at fault stands alone: at most 2n-1 runs for a batch of n,
 * about 2 log2(n) when one sentence is at fault. That one is {@link Outcome.Failed}; its neighbours are translated. The
 * sentences of a run that was cut off for taking too long go alone at once.
 *
 * <p>When {@code failureLimit} texts in a row fail alone with no success between, the model is taken to be broken:
 * every future completes with a {@link ModelException}, also those to come, so that nothing is rejected for the model's
 * fault.
 *
 * <p>The queue is as long as the callers make it; the pipeline bounds it by what a stream thread may read ahead. Every
 * future completes, also after {@link #close}. Threading: all methods may be called from any thread; futures complete on
 * a worker.
 */
public final class TranslationService implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(TranslationService.class);
    private static final long[] FREE = {};
    /** Full batches that wait. */
    private static final int BUSY = 4;

    /** What was submitted together: however many of it fail, it counts as one failure. Guarded by the lock. */
    private static final class Group {
        private boolean failed;
    }

    private record Job(TokenizedText text, Group group, long submitted, Result result) {}

    /** A result that knows whether its sentence still waits for a batch. */
    private static final class Result extends CompletableFuture<Outcome> {
        private volatile boolean waiting = true;
    }

    /** Totals since the start; padded tokens count rows x width. */
    public record Totals(long batches, long sentences, long sourceTokens, long paddedTokens, long targetTokens) {
        /** What was added since an earlier reading. */
        public Totals since(Totals before) {
            return new Totals(
                    batches - before.batches,
                    sentences - before.sentences,
                    sourceTokens - before.sourceTokens,
                    paddedTokens - before.paddedTokens,
                    targetTokens - before.targetTokens);
        }
    }

    private final TranslationModel model;
    private final DecodingOptions options;
    private final Widths widths;
    private final int failureLimit;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final BatchAssembler<Job> queue;
    private final List<Thread> workers = new ArrayList<>();
    private final List<Runnable> listeners = new CopyOnWriteArrayList<>();
    private boolean closed;
    private @Nullable ModelException broken;
    private int failuresInARow;
    private int inFlight;
    private Totals totals = new Totals(0, 0, 0, 0, 0);
    private final Meters meters;
    private final String name;

    /**
     * Starts the workers. The model stays the caller's: close it after this.
     *
     * @param failureLimit texts that may fail in a row before the model counts as broken
     */
    public TranslationService(
            TranslationModel model,
            DecodingOptions options,
            BatchLimits limits,
            int workers,
            int failureLimit,
            Meters meters) {
        this.model = model;
        this.meters = meters;
        this.name = model.manifest().name();
        this.options = options;
        this.widths = limits.widths();
        this.failureLimit = failureLimit;
        this.queue = new BatchAssembler<>(limits, workers, job -> job.text().length());
        meters.watch(Metric.QUEUE_SENTENCES, this::waiting, name);
        meters.watch(Metric.IN_FLIGHT_SENTENCES, this::inFlight, name);
        for (int i = 0; i < workers; i++) {
            Thread thread = new Thread(this::work, "dragoman-model-" + i);
            thread.setDaemon(true);
            this.workers.add(thread);
        }
        this.workers.forEach(Thread::start);
    }

    public TranslationModel model() {
        return model;
    }

    /** Completes with what became of the sentence, or exceptionally when the model is broken or this is closed. */
    public CompletableFuture<Outcome> submit(TokenizedText text) {
        return submit(List.of(text), Priority.NORMAL).get(0);
    }

    /**
     * The same for the pieces of one text, in their order. A result that is cancelled before its batch is taken is not
     * worked for.
     */
    public List<CompletableFuture<Outcome>> submit(List<TokenizedText> pieces, Priority priority) {
        List<CompletableFuture<Outcome>> results = new ArrayList<>(pieces.size());
        Group group = new Group();
        lock.lock();
        try {
            for (TokenizedText piece : pieces) {
                Result result = new Result();
                results.add(result);
                if (broken != null) {
                    result.completeExceptionally(broken);
                } else if (closed) {
                    result.completeExceptionally(new ModelException("the translation service is closed"));
                } else {
                    queue.add(new Job(piece, group, System.nanoTime(), result), priority, System.nanoTime());
                    changed.signal();
                }
            }
        } finally {
            lock.unlock();
        }
        return results;
    }

    /**
     * Somebody waits for these results now: of their sentences that still wait, the first goes with the next batch and the
     * others follow it.
     */
    @SuppressWarnings("CollectionUndefinedEquality") // by identity
    public void hurry(List<CompletableFuture<Outcome>> results) {
        Set<CompletableFuture<Outcome>> wanted = Collections.newSetFromMap(new IdentityHashMap<>());
        for (CompletableFuture<Outcome> result : results) {
            if (!result.isDone() && result instanceof Result own && own.waiting) {
                wanted.add(result);
            }
        }
        if (wanted.isEmpty()) { // the common case: done, or running
            return;
        }
        lock.lock();
        try {
            queue.hurry(job -> wanted.contains(job.result()), wanted.size());
        } finally {
            lock.unlock();
        }
    }

    /** Has {@code listener} called, by a worker, whenever it is known what became of all sentences of a batch. */
    public void whenBatchEnds(Runnable listener) {
        listeners.add(listener);
    }

    /** Whether there is more to do than can be done soon: what has yet to come need not hurry. */
    public boolean isBusy() {
        lock.lock();
        try {
            return queue.fullBatches() >= BUSY;
        } finally {
            lock.unlock();
        }
    }

    /** Why the model counts as broken, if it does. */
    public Optional<String> fault() {
        lock.lock();
        try {
            return Optional.ofNullable(broken).map(ModelException::getMessage);
        } finally {
            lock.unlock();
        }
    }

    public Totals totals() {
        lock.lock();
        try {
            return totals;
        } finally {
            lock.unlock();
        }
    }

    private int waiting() {
        lock.lock();
        try {
            return queue.size();
        } finally {
            lock.unlock();
        }
    }

    private int inFlight() {
        lock.lock();
        try {
            return inFlight;
        } finally {
            lock.unlock();
        }
    }

    private void addInFlight(int sentences) {
        lock.lock();
        try {
            inFlight += sentences;
        } finally {
            lock.unlock();
        }
    }

    private void ended(List<Job> batch, int wanted) {
        lock.lock();
        try {
            inFlight -= wanted;
            queue.ended(batch, System.nanoTime());
        } finally {
            lock.unlock();
        }
    }

    private void work() {
        for (List<Job> batch = nextBatch(); !batch.isEmpty(); batch = nextBatch()) {
            List<Job> wanted =
                    batch.stream().filter(job -> !job.result().isCancelled()).toList();
            addInFlight(wanted.size());
            try {
                if (!wanted.isEmpty()) {
                    translate(wanted);
                }
            } finally {
                ended(batch, wanted.size());
                listeners.forEach(Runnable::run);
            }
        }
    }

    /** Blocks until a batch is due; empty once closed. */
    private List<Job> nextBatch() {
        lock.lock();
        try {
            while (!closed) {
                long now = System.nanoTime();
                List<Job> batch = queue.next(now);
                if (!batch.isEmpty()) {
                    batch.forEach(job -> job.result().waiting = false);
                    if (queue.size() > 0) {
                        changed.signal();
                    }
                    return batch;
                }
                Optional<Long> due = queue.dueIn(now);
                if (due.isPresent()) {
                    changed.awaitNanos(due.get());
                } else {
                    changed.await();
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            lock.unlock();
        }
        return List.of();
    }

    private void translate(List<Job> jobs) {
        long start = System.nanoTime();
        PaddedBatch batch;
        List<List<Hypothesis>> found;
        try {
            batch = new PaddedBatch(
                    jobs.stream().map(Job::text).toList(),
                    model.manifest().specialIds().pad(),
                    widths);
            found = model.decode(batch, Collections.nCopies(jobs.size(), FREE), options);
            if (found.size() != jobs.size()) {
                throw new ModelException("the model should answer every row: answered " + found.size());
            }
            if (found.stream().anyMatch(List::isEmpty)) {
                throw new ModelException("the model should give every sentence a hypothesis: gave none");
            }
        } catch (ModelException e) {
            bisect(jobs, e);
            return;
        } catch (RuntimeException | Error e) {
            bisect(jobs, new ModelException("the model failed: " + e, e));
            return;
        }
        Duration inference = Duration.ofNanos(System.nanoTime() - start);
        succeeded(batch, found);
        for (int row = 0; row < jobs.size(); row++) {
            Job job = jobs.get(row);
            Duration queued = Duration.ofNanos(start - job.submitted());
            job.result().complete(new Outcome.Translated(found.get(row), queued, inference, jobs.size()));
        }
    }

    private void bisect(List<Job> jobs, ModelException failure) {
        meters.counter(Metric.FAILED_RUNS, name, String.valueOf(failure.isCutOff()))
                .increment();
        ModelException reason = null;
        if (jobs.size() == 1) {
            reason = failed(jobs.get(0).group(), failure);
        } else {
            reason = brokenNow();
        }
        if (reason != null) {
            for (Job job : jobs) {
                job.result().completeExceptionally(reason);
            }
        } else if (jobs.size() == 1) {
            jobs.get(0).result().complete(new Outcome.Failed(String.valueOf(failure.getMessage())));
        } else if (failure.isCutOff()) { // halving would run into the limit again and again
            LOG.warn("a batch of {} takes too long, its sentences go alone: {}", jobs.size(), failure.getMessage());
            jobs.forEach(job -> translate(List.of(job)));
        } else {
            LOG.debug("a batch of {} failed, halving it: {}", jobs.size(), failure.getMessage());
            translate(jobs.subList(0, jobs.size() / 2));
            translate(jobs.subList(jobs.size() / 2, jobs.size()));
        }
    }

    private @Nullable ModelException brokenNow() {
        lock.lock();
        try {
            return broken;
        } finally {
            lock.unlock();
        }
    }

    /** Counts the first sentence of a text that failed alone; not null once the model counts as broken. */
    private @Nullable ModelException failed(Group group, ModelException failure) {
        List<Job> abandoned = List.of();
        ModelException reason;
        lock.lock();
        try {
            failuresInARow += group.failed ? 0 : 1;
            group.failed = true;
            if (failuresInARow >= failureLimit && broken == null) {
                broken = new ModelException(
                        "the model " + model.manifest().name() + " failed on " + failuresInARow
                                + " sentences in a row, the last time with: " + failure.getMessage(),
                        failure);
                abandoned = drain();
            }
            reason = broken;
        } finally {
            lock.unlock();
        }
        for (Job job : abandoned) {
            job.result().completeExceptionally(reason == null ? failure : reason);
        }
        return reason;
    }

    private void succeeded(PaddedBatch batch, List<List<Hypothesis>> found) {
        long sourceTokens = 0;
        long targetTokens = 0;
        for (int row = 0; row < batch.rows(); row++) {
            sourceTokens += batch.sentence(row).length();
            targetTokens += found.get(row).get(0).length();
        }
        long padded = (long) batch.rows() * batch.width();
        lock.lock();
        try {
            failuresInARow = 0;
            totals = new Totals(
                    totals.batches() + 1,
                    totals.sentences() + batch.rows(),
                    totals.sourceTokens() + sourceTokens,
                    totals.paddedTokens() + padded,
                    totals.targetTokens() + targetTokens);
        } finally {
            lock.unlock();
        }
        meters.counter(Metric.BATCHES, name).increment();
        meters.summary(Metric.BATCH_ROWS, name).record(batch.rows());
        meters.counter(Metric.SOURCE_TOKENS, name).increment((double) sourceTokens);
        meters.counter(Metric.PADDING_TOKENS, name).increment((double) (padded - sourceTokens));
        meters.counter(Metric.TARGET_TOKENS, name).increment((double) targetTokens);
    }

    private List<Job> drain() {
        List<Job> all = new ArrayList<>();
        for (List<Job> batch = queue.take(); !batch.isEmpty(); batch = queue.take()) {
            all.addAll(batch);
        }
        return all;
    }

    /** Waits for the runs under way, up to ten seconds; what still waits completes exceptionally. */
    @Override
    public void close() {
        List<Job> abandoned;
        lock.lock();
        try {
            closed = true;
            abandoned = drain();
            changed.signalAll();
        } finally {
            lock.unlock();
        }
        for (Job job : abandoned) {
            job.result().completeExceptionally(new ModelException("the translation service is closed"));
        }
        try {
            for (Thread worker : workers) {
                worker.join(TimeUnit.SECONDS.toMillis(10));
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
