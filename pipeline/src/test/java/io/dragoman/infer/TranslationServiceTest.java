package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.batch.BatchLimits;
import io.dragoman.config.Priority;
import io.dragoman.metrics.Meters;
import io.dragoman.tokenize.Texts;
import io.dragoman.tokenize.TokenizedText;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class TranslationServiceTest {
    private static final DecodingOptions GREEDY = new DecodingOptions(1, 30, 0);
    /** Longer than any test: a batch leaves when it is full. */
    private static final Duration LONG = Duration.ofMinutes(5);

    private static TranslationService service(
            TranslationModel model, int rows, Duration linger, int workers, int failureLimit) {
        return new TranslationService(
                model,
                GREEDY,
                new BatchLimits(rows, 10_000, linger, 512, 128, Duration.ZERO),
                workers,
                failureLimit,
                Meters.none());
    }

    private static Outcome get(CompletableFuture<Outcome> future) throws Exception {
        return future.get(30, TimeUnit.SECONDS);
    }

    private static ModelException failure(CompletableFuture<Outcome> future) {
        ExecutionException e = assertThrows(ExecutionException.class, () -> get(future));
        return assertInstanceOf(ModelException.class, e.getCause());
    }

    private static Outcome.Translated translated(CompletableFuture<Outcome> future) throws Exception {
        return assertInstanceOf(Outcome.Translated.class, get(future));
    }

    @Test
    void shouldPutSentencesOfDifferentCallersInOneBatch() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo();
        try (TranslationService service = service(model, 4, LONG, 1, 1)) {
            List<CompletableFuture<Outcome>> results = new java.util.concurrent.CopyOnWriteArrayList<>();
            List<Thread> callers = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                String word = "mot" + i;
                Thread caller = new Thread(() -> results.add(service.submit(Texts.pieces(word))));
                callers.add(caller);
                caller.start();
            }
            for (Thread caller : callers) {
                caller.join();
            }
            for (CompletableFuture<Outcome> result : results) {
                assertEquals(4, translated(result).batchSize());
            }
        }
        assertEquals(1, model.runs().size());
        assertEquals(
                List.of("mot0", "mot1", "mot2", "mot3"),
                model.runs().get(0).stream().sorted().toList());
    }

    @Test
    void shouldGiveEachSentenceItsOwnAnswer() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.translating(text -> new long[] {text.length(), 2});
        try (TranslationService service = service(model, 8, Duration.ZERO, 2, 1)) {
            List<CompletableFuture<Outcome>> results = IntStream.range(0, 50)
                    .mapToObj(i -> service.submit(Texts.pieces("x".repeat(i + 1))))
                    .toList();
            for (int i = 0; i < 50; i++) {
                assertArrayEquals(
                        new long[] {i + 1, 2}, translated(results.get(i)).best().ids());
            }
        }
    }

    @Test
    void shouldSendAPartBatchOnceItHasLingered() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo();
        try (TranslationService service = service(model, 64, Duration.ofMillis(1), 1, 1)) {
            Outcome.Translated outcome = translated(service.submit(Texts.pieces("seul")));
            assertEquals(1, outcome.batchSize());
            assertTrue(outcome.queued().toNanos() >= 1_000_000, outcome.queued() + " queued");
            assertFalse(outcome.inference().isNegative());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4, 5, 6, 7})
    void shouldFindTheSentenceAtFaultAndTranslateItsNeighbours(int place) throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo().failingOn(text -> text.equals("poison"));
        try (TranslationService service = service(model, 8, LONG, 1, 2)) {
            List<CompletableFuture<Outcome>> results = IntStream.range(0, 8)
                    .mapToObj(i -> service.submit(Texts.pieces(i == place ? "poison" : "bon")))
                    .toList();
            for (int i = 0; i < 8; i++) {
                if (i == place) {
                    assertEquals(new Outcome.Failed("no answer for poison"), get(results.get(i)));
                } else {
                    translated(results.get(i));
                }
            }
            assertEquals(Optional.empty(), service.fault());
        }
        assertEquals(7, model.runs().size(), "1 + 2 log2(8) runs: " + model.runs());
    }

    @Test
    void shouldNeedAtMostTwoRunsLessOneForEachSentenceWhenAllFail() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo().failingOn(text -> true);
        try (TranslationService service = service(model, 8, LONG, 1, 100)) {
            List<CompletableFuture<Outcome>> results = IntStream.range(0, 8)
                    .mapToObj(i -> service.submit(Texts.pieces("poison")))
                    .toList();
            for (CompletableFuture<Outcome> result : results) {
                assertInstanceOf(Outcome.Failed.class, get(result));
            }
        }
        assertEquals(15, model.runs().size());
    }

    @Test
    void shouldCallTheModelBrokenAfterFailuresInARow() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        FakeTranslationModel model =
                FakeTranslationModel.echo().failingOn(text -> true).waiting(begun, go);
        try (TranslationService service = service(model, 1, Duration.ZERO, 1, 3)) {
            List<CompletableFuture<Outcome>> results = IntStream.range(0, 6)
                    .mapToObj(i -> service.submit(Texts.pieces("mot")))
                    .toList();
            begun.await();
            go.countDown();
            String broken = "the model fr-en-tiny failed on 3 sentences in a row, the last time with:"
                    + " no answer for poison";
            assertInstanceOf(Outcome.Failed.class, get(results.get(0)));
            assertInstanceOf(Outcome.Failed.class, get(results.get(1)));
            assertEquals(broken, failure(results.get(2)).getMessage());
            for (CompletableFuture<Outcome> waiting : results.subList(3, 6)) {
                assertEquals(broken, failure(waiting).getMessage());
            }
            assertEquals(
                    broken, failure(service.submit(Texts.pieces("plus tard"))).getMessage());
            assertEquals(Optional.of(broken), service.fault());
        }
        assertEquals(3, model.runs().size(), "a broken model is left alone");
    }

    @Test
    void shouldRejectNobodyOfABatchForABrokenModel() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo().failingOn(text -> true);
        try (TranslationService service = service(model, 4, LONG, 1, 1)) {
            List<CompletableFuture<Outcome>> results = IntStream.range(0, 4)
                    .mapToObj(i -> service.submit(Texts.pieces("mot")))
                    .toList();
            results.forEach(TranslationServiceTest::failure);
        }
        assertEquals(5, model.runs().size(), "no half is cut again once the first sentence failed: " + model.runs());
    }

    @Test
    void shouldCountFailuresAnewAfterASuccess() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo().failingOn(text -> text.equals("poison"));
        try (TranslationService service = service(model, 1, Duration.ZERO, 1, 3)) {
            for (String text : List.of("poison", "poison", "bon", "poison", "poison", "bon", "poison")) {
                boolean failed = get(service.submit(Texts.pieces(text))) instanceof Outcome.Failed;
                assertEquals(text.equals("poison"), failed);
            }
            assertEquals(Optional.empty(), service.fault());
        }
    }

    @Test
    void shouldTakeAnyThrowableForAFailureOfTheSentence() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo()
                .failingOn(text -> !text.equals("bon"))
                .throwing(text -> text.equals("erreur") ? new StackOverflowError() : new IllegalStateException("no"));
        try (TranslationService service = service(model, 1, Duration.ZERO, 1, 10)) {
            assertEquals(
                    new Outcome.Failed("the model failed: java.lang.StackOverflowError"),
                    get(service.submit(Texts.pieces("erreur"))));
            assertEquals(
                    new Outcome.Failed("the model failed: java.lang.IllegalStateException: no"),
                    get(service.submit(Texts.pieces("exception"))));
            translated(service.submit(Texts.pieces("bon")));
        }
    }

    @Test
    void shouldRejectTheSentenceThatMemoryDoesNotSufficeFor() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo()
                .failingOn(text -> text.equals("immense"))
                .throwing(text -> new OutOfMemoryError("Direct buffer memory"));
        try (TranslationService service = service(model, 4, LONG, 1, 10)) {
            List<CompletableFuture<Outcome>> results = Stream.of("bon", "immense", "bon", "bon")
                    .map(text -> service.submit(Texts.pieces(text)))
                    .toList();
            translated(results.get(0));
            assertEquals(
                    new Outcome.Failed("the model failed: java.lang.OutOfMemoryError: Direct buffer memory"),
                    get(results.get(1)));
            translated(results.get(2));
            translated(results.get(3));
        }
    }

    @Test
    void shouldRunSentencesAloneAtOnceWhenTheirRunWasCutOff() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo()
                .failingOn(text -> text.equals("sans fin"))
                .throwing(text -> ModelException.cutOff(Duration.ofSeconds(15)));
        try (TranslationService service = service(model, 4, LONG, 1, 10)) {
            List<CompletableFuture<Outcome>> results = Stream.of("un", "sans fin", "trois", "quatre")
                    .map(text -> service.submit(Texts.pieces(text)))
                    .toList();
            translated(results.get(0));
            assertEquals(
                    new Outcome.Failed("the run was cut off after 15000 ms of processor time"), get(results.get(1)));
            translated(results.get(2));
            translated(results.get(3));
        }
        assertEquals(5, model.runs().size(), "two of them run into the limit: " + model.runs());
    }

    @Test
    void shouldTakeNoAnswerForAFailure() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.answering(source ->
                source.text().equals("rien") ? List.of() : List.of(FakeTranslationModel.hypothesis(source, 2)));
        try (TranslationService service = service(model, 2, LONG, 1, 10)) {
            CompletableFuture<Outcome> nothing = service.submit(Texts.pieces("rien"));
            CompletableFuture<Outcome> good = service.submit(Texts.pieces("bon"));
            assertEquals(
                    new Outcome.Failed("the model should give every sentence a hypothesis: gave none"), get(nothing));
            translated(good);
        }
    }

    @Test
    void shouldFailASentenceOfNoIdsAlone() throws Exception {
        TokenizedText nothing = new TokenizedText("", new long[0], List.of(), false);
        try (TranslationService service = service(FakeTranslationModel.echo(), 2, LONG, 1, 10)) {
            CompletableFuture<Outcome> empty = service.submit(nothing);
            CompletableFuture<Outcome> good = service.submit(Texts.pieces("bon"));
            assertInstanceOf(Outcome.Failed.class, get(empty));
            translated(good);
        }
    }

    @Test
    void shouldCountThePiecesOfATextThatFailAsOneFailure() throws Exception {
        FakeTranslationModel model = FakeTranslationModel.echo().failingOn(text -> text.equals("poison"));
        try (TranslationService service = service(model, 1, Duration.ZERO, 1, 3)) {
            TokenizedText poison = Texts.pieces("poison");
            for (int text = 0; text < 2; text++) {
                for (CompletableFuture<Outcome> piece :
                        service.submit(List.of(poison, poison, poison), Priority.NORMAL)) {
                    assertInstanceOf(Outcome.Failed.class, get(piece));
                }
            }
            assertEquals(Optional.empty(), service.fault());
            assertEquals(
                    "the model fr-en-tiny failed on 3 sentences in a row, the last time with: no answer for poison",
                    failure(service.submit(poison)).getMessage());
        }
    }

    @Test
    void shouldNotWorkForAResultThatWasCancelled() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        FakeTranslationModel model = FakeTranslationModel.echo().waiting(begun, go);
        try (TranslationService service = service(model, 1, Duration.ZERO, 1, 1)) {
            CompletableFuture<Outcome> running = service.submit(Texts.pieces("en cours"));
            begun.await();
            List<CompletableFuture<Outcome>> pieces = service.submit(
                    List.of(Texts.pieces("un"), Texts.pieces("deux"), Texts.pieces("trois")), Priority.NORMAL);
            pieces.get(0).cancel(false);
            pieces.get(2).cancel(false);
            go.countDown();
            translated(running);
            translated(pieces.get(1));
        }
        assertEquals(List.of(List.of("en cours"), List.of("deux")), model.runs());
    }

    @Test
    void shouldTranslateThePiecesThatSomebodyWaitsForFirst() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        FakeTranslationModel model = FakeTranslationModel.echo().waiting(begun, go);
        try (TranslationService service = service(model, 1, Duration.ZERO, 1, 1)) {
            service.submit(Texts.pieces("en cours"));
            begun.await();
            CompletableFuture<Outcome> last = service.submit(Texts.pieces("un"));
            List<CompletableFuture<Outcome>> pieces =
                    service.submit(List.of(Texts.pieces("deux"), Texts.pieces("trois")), Priority.NORMAL);
            service.hurry(pieces);
            go.countDown();
            translated(last);
        }
        assertEquals(List.of(List.of("en cours"), List.of("deux"), List.of("trois"), List.of("un")), model.runs());
    }

    @Test
    void shouldFinishWhatRunsAndGiveUpWhatWaitsWhenClosed() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        FakeTranslationModel model = FakeTranslationModel.echo().waiting(begun, go);
        TranslationService service = service(model, 1, Duration.ZERO, 1, 1);
        CompletableFuture<Outcome> running = service.submit(Texts.pieces("en cours"));
        begun.await();
        CompletableFuture<Outcome> waiting = service.submit(Texts.pieces("en attente"));
        CompletableFuture<Void> closing = CompletableFuture.runAsync(service::close);
        assertEquals("the translation service is closed", failure(waiting).getMessage());
        assertFalse(running.isDone());
        go.countDown();
        translated(running);
        closing.get(30, TimeUnit.SECONDS);
        assertEquals(
                "the translation service is closed",
                failure(service.submit(Texts.pieces("trop tard"))).getMessage());
        assertFalse(model.closed(), "the model stays the caller's");
    }

    @Test
    void shouldCompleteEverythingWhenClosedWhileBusy() throws Exception {
        for (int round = 0; round < 50; round++) {
            TranslationService service = service(FakeTranslationModel.echo(), 3, Duration.ZERO, 2, 1);
            List<CompletableFuture<Outcome>> results = IntStream.range(0, 40)
                    .mapToObj(i -> service.submit(Texts.pieces("mot")))
                    .collect(Collectors.toList());
            service.close();
            for (CompletableFuture<Outcome> result : results) {
                assertTrue(result.isDone());
            }
        }
    }

    @Test
    void shouldAddUpWhatItDid() throws Exception {
        FakeTranslationModel model =
                FakeTranslationModel.translating(text -> new long[] {7, 8, 2}).failingOn(text -> text.equals("poison"));
        try (TranslationService service = service(model, 2, LONG, 1, 10)) {
            assertEquals(new TranslationService.Totals(0, 0, 0, 0, 0), service.totals());
            // one batch of 3 and 5 ids: 8 in 10 places; then, after bisecting, one of 2 ids
            List<CompletableFuture<Outcome>> results = List.of(
                    service.submit(Texts.pieces("un deux")), service.submit(Texts.pieces("un deux trois quatre")));
            for (CompletableFuture<Outcome> result : results) {
                translated(result);
            }
            assertEquals(new TranslationService.Totals(1, 2, 8, 10, 6), service.totals());
            CompletableFuture<Outcome> poison = service.submit(Texts.pieces("poison"));
            CompletableFuture<Outcome> good = service.submit(Texts.pieces("bon"));
            get(poison);
            get(good);
            assertEquals(new TranslationService.Totals(2, 3, 10, 12, 9), service.totals());
        }
    }

    @Test
    void shouldTellWhatWasAddedSinceAnEarlierReading() {
        assertEquals(
                new TranslationService.Totals(1, 2, 3, 4, 5),
                new TranslationService.Totals(11, 22, 33, 44, 55)
                        .since(new TranslationService.Totals(10, 20, 30, 40, 50)));
    }

    @Test
    void shouldRefuseASearchThatCannotBe() {
        assertThrows(IllegalArgumentException.class, () -> new DecodingOptions(0, 1, 0));
        assertThrows(IllegalArgumentException.class, () -> new DecodingOptions(1, 0, 0));
        assertThrows(IllegalArgumentException.class, () -> new DecodingOptions(1, 1, -0.1));
        assertThrows(IllegalArgumentException.class, () -> new DecodingOptions(1, 1, Double.NaN));
        assertThrows(IllegalArgumentException.class, () -> new DecodingOptions(2, 0, 1, 0));
        assertThrows(IllegalArgumentException.class, () -> new DecodingOptions(2, 3, 1, 0));
    }
}
