package io.dragoman.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.schema.Alignment;
import io.dragoman.schema.Extent;
import io.dragoman.schema.Link;
import io.dragoman.schema.Model;
import io.dragoman.schema.Origin;
import io.dragoman.schema.Timings;
import io.dragoman.schema.Token;
import io.dragoman.schema.Translation;
import io.dragoman.schema.TrustedRecords;
import io.dragoman.schema.WeightEncoding;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What a reply waits for, and what {@code --json} makes of it. */
class ReplyTest {
    static {
        TrustedRecords.register();
    }

    private static final Model MODEL = new Model("m", "1", "00");
    private static final Origin ORIGIN = new Origin("t", 0, 0L, 0L);

    private static Translation translation(Map<String, Double> signals) {
        return new Translation(
                "id-1",
                "le",
                "the",
                "fr",
                "en",
                MODEL,
                -0.5,
                List.of(-0.25f, -0.75f),
                List.of(),
                List.of(),
                false,
                signals,
                Map.of(),
                ORIGIN,
                new Timings(0L, 0L, 1),
                Extent.WHOLE);
    }

    private static Alignment alignment() {
        return Alignment.newBuilder()
                .setId("id-1")
                .setSourceLanguage("fr")
                .setTargetLanguage("en")
                .setModel(MODEL)
                .setSourceTokens(List.of(new Token("▁le", 0, 2, false), new Token("</s>", 2, 2, true)))
                .setTargetTokens(List.of(new Token("▁the", 0, 3, false), new Token("</s>", 3, 3, true)))
                .setEncoding(WeightEncoding.UINT8)
                .setEncodingError(0)
                .setWeights(ByteBuffer.wrap(new byte[] {(byte) 255, 0, 0, (byte) 255}))
                .setTokenLinks(List.of(new Link(0, 0)))
                .setWordLinks(List.of(new Link(0, 0)))
                .setAttentionLayer(0)
                .setAttentionHeads(List.of(0))
                .setAttentionShift(0)
                .setOrigin(ORIGIN)
                .build();
    }

    @Test
    void shouldWaitForAnAlignmentOnlyWhereOneWillCome() {
        Translation attending = translation(Map.of("length_ratio", 1.0, "attention_entropy", 0.5));
        Translation blind = translation(Map.of("length_ratio", 1.0));
        assertFalse(Reply.isWhole(attending, false));
        assertTrue(Reply.isWhole(attending, true));
        assertTrue(Reply.isWhole(blind, false));
    }

    @Test
    void shouldGiveAnAlignmentAsJson() {
        assertEquals(
                "{\"id\":\"id-1\",\"source\":\"le\",\"translation\":\"the\",\"score\":-0.5,\"tokens\":["
                        + "{\"text\":\"▁the\",\"start\":0,\"end\":3,\"log_prob\":-0.25},"
                        + "{\"text\":\"</s>\",\"start\":3,\"end\":3,\"log_prob\":-0.75}],"
                        + "\"alignment\":{\"source_tokens\":[\"▁le\",\"</s>\"],\"target_tokens\":[\"▁the\",\"</s>\"],"
                        + "\"weights\":[[1.0,0.0],[0.0,1.0]],\"links\":\"0-0\"}}",
                TranslateCommand.object("le", new Reply(translation(Map.of()), alignment(), null))
                        .toString());
    }

    @Test
    void shouldGiveNoAlignmentAsNull() {
        assertEquals(
                "{\"id\":\"id-1\",\"source\":\"le\",\"translation\":\"the\",\"score\":-0.5,"
                        + "\"tokens\":[{\"log_prob\":-0.25},{\"log_prob\":-0.75}],\"alignment\":null}",
                TranslateCommand.object("le", new Reply(translation(Map.of()), null, null))
                        .toString());
    }
}
