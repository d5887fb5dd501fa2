package io.dragoman.publish;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.infer.FakeTranslationModel;
import io.dragoman.infer.Hypothesis;
import io.dragoman.infer.LinkChoice;
import io.dragoman.infer.Outcome.Translated;
import io.dragoman.infer.WordLinks;
import io.dragoman.schema.Cut;
import io.dragoman.schema.Segment;
import io.dragoman.schema.Timings;
import io.dragoman.schema.Token;
import io.dragoman.schema.TokenSegment;
import io.dragoman.tokenize.LengthPolicy;
import io.dragoman.tokenize.Segmentation.Pieces;
import io.dragoman.tokenize.Segmenter;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TinyTokenizer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class StitchedTest {
    private static final String TEXT = " le chat.\n\nle noir. ";

    private static SubwordTokenizer tokenizer;

    @BeforeAll
    static void open() {
        tokenizer = TinyTokenizer.open();
    }

    @AfterAll
    static void close() {
        tokenizer.close();
    }

    private static Pieces pieces(String text, int maxTokens) {
        return (Pieces) new Segmenter(
                        tokenizer, "fr", new Segmenter.Limits(LengthPolicy.SENTENCES, "tiny", maxTokens, 1_000_000))
                .segment(text);
    }

    private static Translated result(int queuedMillis, int inferenceMillis, int batch, Hypothesis... hypotheses) {
        return new Translated(
                List.of(hypotheses), Duration.ofMillis(queuedMillis), Duration.ofMillis(inferenceMillis), batch);
    }

    private static Hypothesis plain(float logProb, long... ids) {
        float[] logProbs = new float[ids.length];
        java.util.Arrays.fill(logProbs, logProb);
        return new Hypothesis(ids, logProbs, Optional.empty(), false);
    }

    /** Each piece translated as itself. */
    private static Stitched echo(String text, Pieces pieces) {
        List<Translated> results = pieces.list().stream()
                .map(piece -> result(
                        0,
                        0,
                        1,
                        FakeTranslationModel.hypothesis(
                                piece.tokens(), piece.tokens().ids())))
                .toList();
        return new Stitched(text, pieces, results, tokenizer, "en");
    }

    @Test
    void shouldJoinTextsTokensAndSpans() {
        Stitched whole = echo(TEXT, pieces(TEXT, 20));
        assertEquals("le chat.\n\nle noir.", whole.translation());
        assertEquals(
                List.of(new Segment(1, 9, 0, 8, Cut.SENTENCE), new Segment(11, 19, 10, 18, Cut.TEXT)),
                whole.segments());
        assertEquals(
                List.of(
                        new Token("▁le", 1, 3, false),
                        new Token("▁chat", 4, 8, false),
                        new Token(".", 8, 9, false),
                        new Token("</s>", 9, 9, true),
                        new Token("▁le", 11, 13, false),
                        new Token("▁no", 14, 16, false),
                        new Token("ir", 16, 18, false),
                        new Token(".", 18, 19, false),
                        new Token("</s>", 19, 19, true)),
                whole.sourceTokens());
        assertEquals(new Token("▁le", 10, 12, false), whole.targetTokens().get(4));
        assertEquals(List.of(new TokenSegment(0, 4, 0, 4), new TokenSegment(4, 9, 4, 9)), whole.tokenSegments());
        assertEquals(9, whole.sourceLength());
        assertEquals(9, whole.targetLength());
    }

    @Test
    void shouldLinkInsidePiecesWithPositionsInTheWhole() {
        Stitched whole = echo(TEXT, pieces(TEXT, 20));
        List<AlignmentMatrix> blocks = whole.blocks().orElseThrow();
        assertEquals(
                "[0-0, 1-1, 2-2, 4-4, 5-5, 6-6, 7-7]",
                whole.tokenLinks(blocks, LinkChoice.DEFAULT).toString());
        assertEquals(
                "[0-0, 1-1, 2-2, 3-3]",
                whole.wordLinks(blocks, LinkChoice.DEFAULT).toString());
    }

    @Test
    void shouldLinkAWordThatWasCutOnce() {
        String text = "xyzxyzxyz le";
        Pieces pieces = pieces(text, 7);
        assertEquals(2, pieces.list().size());
        Stitched whole = echo(text, pieces);
        assertEquals(text, whole.translation());
        assertEquals(
                "[0-0, 1-1]",
                whole.wordLinks(whole.blocks().orElseThrow(), LinkChoice.DEFAULT)
                        .toString());
    }

    @Test
    void shouldScoreAllTokensAlike() {
        Stitched whole = new Stitched(
                TEXT,
                pieces(TEXT, 20),
                List.of(result(0, 0, 1, plain(-1, 305, 2)), result(0, 0, 1, plain(-4, 305, 303, 303, 2))),
                tokenizer,
                "en");
        assertEquals((2 * -1 + 4 * -4) / 6.0, whole.score());
        assertEquals(List.of(-1f, -1f, -4f, -4f, -4f, -4f), whole.logProbs());
        assertEquals(Optional.empty(), whole.blocks());
    }

    @Test
    void shouldBeTruncatedWhenAPieceIs() {
        Hypothesis cut = new Hypothesis(new long[] {305}, new float[] {-1}, Optional.empty(), true);
        Stitched whole = new Stitched(
                TEXT, pieces(TEXT, 20), List.of(result(0, 0, 1, cut), result(0, 0, 1, plain(-1, 2))), tokenizer, "en");
        assertTrue(whole.truncated());
        assertEquals(new TokenSegment(4, 9, 1, 2), whole.tokenSegments().get(1));
    }

    @Test
    void shouldWaitUntilTheFirstBatchStartsAndInferUntilTheLastEnds() {
        Stitched whole = new Stitched(
                TEXT,
                pieces(TEXT, 20),
                List.of(result(30, 5, 7, plain(-1, 2)), result(10, 8, 64, plain(-1, 2))),
                tokenizer,
                "en");
        assertEquals(new Timings(10_000L, 25_000L, 64), whole.timings());
    }

    @Test
    void shouldJoinFurtherTranslationsByTheirRank() {
        Stitched whole = new Stitched(
                TEXT,
                pieces(TEXT, 20),
                List.of(
                        result(0, 0, 1, plain(-1, 303, 2), plain(-2, 305, 2), plain(-3, 303, 305, 2)),
                        result(0, 0, 1, plain(-1, 303, 2), plain(-4, 303, 303, 2))),
                tokenizer,
                "en");
        assertEquals("the\n\nthe", whole.translation());
        List<io.dragoman.schema.Hypothesis> further = whole.further(9, tokenizer);
        assertEquals(
                List.of("cat\n\nthe the", "the cat\n\nthe the"),
                further.stream()
                        .map(io.dragoman.schema.Hypothesis::getTranslation)
                        .toList());
        assertEquals((2 * -2 + 3 * -4) / 5.0, further.get(0).getScore());
        assertEquals(1, whole.further(1, tokenizer).size());
    }

    @Test
    void shouldWantAResultForEachPiece() {
        Pieces pieces = pieces(TEXT, 20);
        assertThrows(IllegalArgumentException.class, () -> new Stitched(TEXT, pieces, List.of(), tokenizer, "en"));
    }

    @Test
    void shouldIndexBothTextsWhateverTheyAre() {
        List<String> parts = List.of(
                "le ",
                "chat ",
                "noir",
                ". ",
                "! ",
                "\n",
                "😀",
                "שלום ",
                "你好。",
                ", ",
                "abcdefghij",
                "\u200b",
                "\u2028",
                " ");
        Random random = new Random(3);
        for (int round = 0; round < 400; round++) {
            StringBuilder text = new StringBuilder("x");
            for (int i = 0; i < 40; i++) {
                text.append(parts.get(random.nextInt(parts.size())));
            }
            String source = text.toString();
            Stitched whole = echo(source, pieces(source, 16 + random.nextInt(20)));
            assertSpans(whole.sourceTokens(), source);
            assertSpans(whole.targetTokens(), whole.translation());
            for (Segment segment : whole.segments()) {
                // an echo spells white space inside a piece in its own way, and nothing else
                assertEquals(
                        visible(source.substring(segment.getSourceStart(), segment.getSourceEnd())),
                        visible(whole.translation().substring(segment.getTargetStart(), segment.getTargetEnd())));
            }
            List<AlignmentMatrix> blocks = whole.blocks().orElseThrow();
            List<WordLinks.Link> links = whole.wordLinks(blocks, LinkChoice.DEFAULT);
            assertEquals(links.size(), new HashSet<>(links).size());
            assertEquals(
                    whole.tokenSegments().size(),
                    whole.sourceTokens().stream()
                            .filter(Token::getEndOfSentence)
                            .count());
        }
    }

    private static String visible(String text) {
        return java.text.Normalizer.normalize(text, java.text.Normalizer.Form.NFKC)
                .replaceAll("[\\s\\p{Z}\\u200b]", "");
    }

    /** In order, inside the text, and each visible piece over the characters it spells. */
    private static void assertSpans(List<Token> tokens, String text) {
        List<Integer> starts = new ArrayList<>();
        for (Token token : tokens) {
            assertTrue(token.getStart() >= 0 && token.getStart() <= token.getEnd() && token.getEnd() <= text.length());
            String piece = token.getText().replace("\u2581", "");
            String covered = text.substring(token.getStart(), token.getEnd());
            assertTrue(
                    token.getEndOfSentence()
                            || piece.isEmpty()
                            || piece.startsWith("<0x")
                            || visible(covered).equals(visible(piece)),
                    () -> piece + " covers " + covered);
            starts.add(token.getStart());
        }
        assertEquals(starts.stream().sorted().toList(), starts);
    }
}
