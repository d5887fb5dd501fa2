package io.dragoman.topology;

import static io.dragoman.topology.FakeInstance.poll;
import static io.dragoman.topology.FakeInstance.polled;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.infer.FakeTranslationModel;
import io.dragoman.infer.Outcome;
import io.dragoman.ingest.Origin;
import io.dragoman.ingest.Refusal;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class LookAheadTest {
    private static final String TOPIC = "dragoman.sentences";

    private final FakeTranslationModel model = FakeInstance.dictionary();
    private FakeInstance instance;
    private LookAhead lookAhead;

    @BeforeEach
    void start() {
        instance = FakeInstance.of(model).start();
        lookAhead = instance.lookAhead();
    }

    @AfterEach
    void stop() {
        instance.close();
    }

    private static byte[] text(String text) {
        return text.getBytes(UTF_8);
    }

    private static Origin origin(int partition, long offset) {
        return new Origin(TOPIC, partition, offset, 0);
    }

    private Intake.Taken take(int partition, long offset, String text) {
        return lookAhead.take(origin(partition, offset), new RecordHeaders(), text(text));
    }

    private static Outcome.Translated translated(Intake.Taken taken) throws Exception {
        Intake.Taken.UnderWay underWay = assertInstanceOf(Intake.Taken.UnderWay.class, taken);
        return assertInstanceOf(
                Outcome.Translated.class, underWay.outcomes().get(0).get(30, TimeUnit.SECONDS));
    }

    /** One whose only worker has a first sentence, offset 1 of partition 0, until it may go on. */
    private LookAhead running(FakeInstance busy, CountDownLatch until) throws InterruptedException {
        CountDownLatch begun = new CountDownLatch(1);
        model.waiting(begun, until);
        busy.lookAhead().submit(poll(List.of(polled(TOPIC, 0, 1, text("le")))));
        assertTrue(begun.await(30, TimeUnit.SECONDS));
        return busy.lookAhead();
    }

    @Test
    void shouldTakeThoseBeforeAnUrgentTextOfTheirPartitionWithIt() throws Exception {
        try (FakeInstance oneByOne = FakeInstance.of(model).fullBatchesOf(1).start()) {
            CountDownLatch until = new CountDownLatch(1);
            LookAhead ahead = running(oneByOne, until); // the others wait together
            Headers urgent = new RecordHeaders().add("priority", text("High"));
            ahead.submit(poll(List.of(
                    polled(TOPIC, 1, 1, text("chat")),
                    polled(TOPIC, 2, 1, text("noir")),
                    polled(TOPIC, 2, 2, text("le noir"), urgent),
                    polled(TOPIC, 2, 3, text("le chat")))));
            until.countDown();
            Intake.Taken last = ahead.take(origin(2, 3), new RecordHeaders(), text("le chat"));
            assertEquals(1, translated(last).batchSize());
            assertEquals(
                    List.of(List.of("le"), List.of("noir"), List.of("le noir")),
                    model.runs().subList(0, 3));
        }
    }

    @Test
    void shouldHoldWhatWasPolledUntilItsTurn() throws Exception {
        lookAhead.submit(poll(List.of(
                polled(TOPIC, 0, 10, text("le chat")),
                polled(TOPIC, 0, 11, text("noir")),
                polled(TOPIC, 1, 10, text("chat")))));
        assertEquals(3, lookAhead.size());
        Intake.Taken.UnderWay first = assertInstanceOf(Intake.Taken.UnderWay.class, take(0, 10, "le chat"));
        assertEquals("le chat", first.text().text());
        assertEquals("dragoman.sentences-0-10", first.text().id());
        assertEquals(2, lookAhead.size());
        assertEquals(
                "noir", ((Intake.Taken.UnderWay) take(0, 11, "noir")).text().text());
        assertEquals(
                "chat", ((Intake.Taken.UnderWay) take(1, 10, "chat")).text().text());
        assertEquals(0, lookAhead.size());
        translated(first);
    }

    @Test
    void shouldBeDrainedWhenNothingThatTheThreadReadCanBePublished() throws Exception {
        assertTrue(lookAhead.isDrained());
        Thread other = new Thread(() -> lookAhead.submit(poll(List.of(polled(TOPIC, 2, 10, text("le noir"))))));
        other.start();
        other.join();
        awaitDue(2, 10);
        assertTrue(lookAhead.isDrained()); // what another thread read is not waited for
        lookAhead.submit(poll(List.of(polled(TOPIC, 0, 10, text("le chat")), polled(TOPIC, 1, 10, text("chat")))));
        awaitDue(0, 10);
        awaitDue(1, 10);
        assertFalse(lookAhead.isDrained());
        take(0, 10, "le chat");
        assertFalse(lookAhead.isDrained());
        lookAhead.forget(1);
        assertTrue(lookAhead.isDrained());
        assertEquals(1, lookAhead.size());
    }

    @Test
    void shouldNotBeDrainedWhileSeveralBatchesWait() throws Exception {
        try (FakeInstance oneByOne = FakeInstance.of(model).singly().start()) {
            CountDownLatch until = new CountDownLatch(1);
            LookAhead ahead = running(oneByOne, until);
            assertTrue(ahead.isDrained(), "more will not come before the run ends");
            for (int offset = 2; offset < 5; offset++) {
                ahead.submit(poll(List.of(polled(TOPIC, 0, offset, text("chat")))));
            }
            assertTrue(ahead.isDrained(), "the next ones are soon done");
            ahead.submit(poll(List.of(polled(TOPIC, 0, 5, text("noir")))));
            assertFalse(ahead.isDrained());
            until.countDown();
        }
    }

    /** As a stream thread waits for it. */
    private void awaitDue(int partition, long offset) throws InterruptedException {
        long rung = lookAhead.rung();
        while (!lookAhead.isDue(polled(TOPIC, partition, offset, text("")))) {
            lookAhead.await(rung, Duration.ofSeconds(30));
            rung = lookAhead.rung();
        }
    }

    @Test
    void shouldTellWhenAResultIsKnown() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch until = new CountDownLatch(1);
        model.waiting(begun, until);
        lookAhead.submit(poll(List.of(polled(TOPIC, 0, 10, text("le chat")))));
        assertTrue(begun.await(30, TimeUnit.SECONDS));
        long rung = lookAhead.rung();
        assertFalse(lookAhead.isDue(polled(TOPIC, 0, 10, text("le chat"))));
        lookAhead.await(rung, Duration.ofMillis(1));
        assertEquals(rung, lookAhead.rung(), "the time was up");
        until.countDown();
        lookAhead.await(rung, Duration.ofSeconds(30));
        assertTrue(lookAhead.isDue(polled(TOPIC, 0, 10, text("le chat"))));
    }

    @Test
    void shouldWaitForNoRecordThatItKnowsNothingOf() {
        assertTrue(lookAhead.isDue(polled(TOPIC, 0, 10, text("le chat"))));
        lookAhead.submit(poll(List.of(polled(TOPIC, 0, 10, text(" ")), polled(TOPIC, 0, 11, null))));
        assertTrue(lookAhead.isDue(polled(TOPIC, 0, 10, text(" "))), "a refusal is known at once");
        assertTrue(lookAhead.isDue(polled(TOPIC, 0, 11, null)), "so is a tombstone");
    }

    @Test
    void shouldWaitNoLongerThanThePatienceOfItsProcessor() throws Exception {
        CountDownLatch until = new CountDownLatch(1);
        model.waiting(new CountDownLatch(1), until);
        try (FakeInstance impatient =
                FakeInstance.of(model).timeout(Duration.ofMillis(50)).start()) {
            LookAhead ahead = impatient.lookAhead();
            ahead.submit(poll(List.of(polled(TOPIC, 0, 10, text("le chat")))));
            assertFalse(ahead.isDue(polled(TOPIC, 0, 10, text("le chat"))));
            Thread.sleep(50);
            assertTrue(ahead.isDue(polled(TOPIC, 0, 10, text("le chat"))));
            until.countDown();
        }
    }

    @Test
    void shouldHurryWhatIsWaitedFor() throws Exception {
        try (FakeInstance oneByOne = FakeInstance.of(model).singly().start()) {
            CountDownLatch until = new CountDownLatch(1);
            LookAhead ahead = running(oneByOne, until);
            ahead.submit(poll(List.of(polled(TOPIC, 0, 2, text("chat")), polled(TOPIC, 1, 1, text("noir")))));
            assertFalse(ahead.isDue(polled(TOPIC, 1, 1, text("noir"))));
            Thread.sleep(LookAhead.HURRY.toMillis());
            assertFalse(ahead.isDue(polled(TOPIC, 1, 1, text("noir"))));
            until.countDown();
            translated(ahead.take(origin(0, 2), new RecordHeaders(), text("chat")));
            assertEquals(List.of(List.of("le"), List.of("noir"), List.of("chat")), model.runs());
        }
    }

    @Test
    void shouldSubmitARecordOnce() throws Exception {
        ConsumerRecords<byte[], byte[]> records = poll(List.of(polled(TOPIC, 0, 10, text("le chat"))));
        lookAhead.submit(records);
        lookAhead.submit(records);
        assertEquals(1, lookAhead.size());
        translated(take(0, 10, "le chat"));
        assertEquals(List.of(List.of("le chat")), model.runs());
    }

    @Test
    void shouldSubmitWhatWasNotLookedAhead() throws Exception {
        assertArrayEquals(
                new long[] {303, 305, 2},
                translated(take(0, 10, "le chat")).best().ids());
        assertEquals(0, lookAhead.size());
    }

    @Test
    void shouldLookAheadNoMoreOnceTheInstanceEnds() throws Exception {
        lookAhead.submit(poll(List.of(polled(TOPIC, 0, 10, text("le")))));
        assertFalse(lookAhead.isEnding());
        long rung = lookAhead.rung();
        lookAhead.stop();
        assertTrue(lookAhead.isEnding());
        assertTrue(lookAhead.rung() > rung, "who waits for results hears of it");
        assertTrue(lookAhead.isDue(polled(TOPIC, 0, 10, text("le"))));
        lookAhead.submit(poll(List.of(polled(TOPIC, 0, 11, text("chat")))));
        assertEquals(1, lookAhead.size());
        translated(take(0, 10, "le"));
        translated(take(0, 11, "chat"));
    }

    @Test
    void shouldCountWhatItForgotBeforeItsTurn() {
        lookAhead.submit(poll(List.of(
                polled(TOPIC, 0, 10, text("le")),
                polled(TOPIC, 0, 11, text("chat")),
                polled(TOPIC, 0, 12, text("noir")))));
        take(0, 10, "le");
        lookAhead.forget(0);
        lookAhead.forget(1);
        assertEquals(2, lookAhead.forgotten());
    }

    @Test
    void shouldDropWhatWasPassedOver() {
        lookAhead.submit(poll(List.of(
                polled(TOPIC, 0, 10, text("le")),
                polled(TOPIC, 0, 11, text("chat")),
                polled(TOPIC, 0, 12, text("noir")))));
        take(0, 11, "chat");
        assertEquals(1, lookAhead.size());
        take(0, 15, "chat");
        assertEquals(0, lookAhead.size());
    }

    @Test
    void shouldForgetAPartitionAndTakeItUpAgain() throws Exception {
        lookAhead.submit(poll(List.of(polled(TOPIC, 0, 10, text("le chat")), polled(TOPIC, 1, 10, text("noir")))));
        lookAhead.forget(0);
        assertEquals(1, lookAhead.size());
        lookAhead.forget(7);
        assertEquals(1, lookAhead.size());
        lookAhead.submit(poll(List.of(polled(TOPIC, 0, 10, text("le chat")))));
        assertEquals(2, lookAhead.size());
        assertArrayEquals(
                new long[] {303, 305, 2},
                translated(take(0, 10, "le chat")).best().ids());
    }

    @Test
    void shouldLeaveOtherTopicsAndTombstonesAlone() {
        lookAhead.submit(poll(List.of(
                polled("dragoman.translations", 0, 10, text("le chat")),
                polled("dragoman-anchor-changelog", 0, 11, text("le chat")),
                polled(TOPIC, 0, 12, null))));
        assertEquals(0, lookAhead.size());
    }

    @Test
    void shouldHoldARefusalToo() {
        lookAhead.submit(poll(List.of(polled(TOPIC, 0, 10, text(" ")))));
        assertEquals(1, lookAhead.size());
        Intake.Taken.Refused refused = assertInstanceOf(Intake.Taken.Refused.class, take(0, 10, " "));
        assertEquals(Refusal.Reason.EMPTY, refused.refusal().reason());
        assertEquals(0, lookAhead.size());
    }

    @Test
    void shouldTakeLanguagesFromThePolledHeaders() {
        lookAhead.submit(poll(
                List.of(polled(TOPIC, 0, 10, text("hallo"), new RecordHeaders().add("source-language", text("de"))))));
        Intake.Taken.Refused refused = assertInstanceOf(Intake.Taken.Refused.class, take(0, 10, "hallo"));
        assertEquals(Refusal.Reason.UNKNOWN_LANGUAGE_PAIR, refused.refusal().reason());
    }

    @Test
    void shouldBeFedByTheConsumersInterceptor() {
        LookAheadInterceptor interceptor = new LookAheadInterceptor();
        ConsumerRecords<byte[], byte[]> records = poll(List.of(polled(TOPIC, 0, 10, text("le chat"))));
        assertSame(records, interceptor.onConsume(records), "without a look-ahead it does nothing");
        assertEquals(0, lookAhead.size());
        interceptor.configure(Map.of(LookAheadInterceptor.LOOK_AHEAD, lookAhead));
        assertSame(records, interceptor.onConsume(records));
        assertEquals(1, lookAhead.size());
        interceptor.onCommit(Map.of());
        interceptor.close();
    }

    @Test
    void shouldSendResultsToThePartitionOfTheirSentence() throws Exception {
        SamePartition partitioner = new SamePartition();
        partitioner.set(5);
        assertEquals(Optional.of(Set.of(5)), partitioner.partitions("t", null, null, 6));
        assertEquals(Optional.of(Set.of(2)), partitioner.partitions("t", new byte[] {9}, null, 3));
        Thread other = new Thread(() -> partitioner.set(1));
        other.start();
        other.join();
        assertTrue(partitioner.partitions("t", null, null, 6).orElseThrow().contains(5), "each thread has its own");
    }
}
