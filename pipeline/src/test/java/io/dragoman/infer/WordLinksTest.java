package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.dragoman.tokenize.Texts;
import io.dragoman.tokenize.TokenSpan;
import io.dragoman.tokenize.TokenizedText;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WordLinksTest {
    @Test
    void shouldLinkEachTargetTokenToItsLargestWeight() {
        TokenizedText source = Texts.pieces("le chat noir");
        TokenizedText target = Texts.pieces("the black cat");
        AlignmentMatrix matrix = matrix(new float[][] {
            {.7f, .1f, .1f, .1f},
            {.1f, .1f, .7f, .1f},
            {.1f, .7f, .1f, .1f},
            {.1f, .1f, .1f, .7f}
        });
        assertEquals("0-0 2-1 1-2", pharaoh(WordLinks.overTokens(source, target, matrix, LinkChoice.DEFAULT)));
        assertEquals("0-0 2-1 1-2", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
    }

    @Test
    void shouldLeaveTheEndOfTheSentenceOutOnBothSides() {
        TokenizedText source = Texts.pieces("a b");
        TokenizedText target = Texts.pieces("x");
        AlignmentMatrix matrix = matrix(new float[][] {
            {.05f, .15f, .8f}, // most on the end
            {.9f, .05f, .05f}
        });
        assertEquals("1-0", pharaoh(WordLinks.overTokens(source, target, matrix, LinkChoice.DEFAULT)));
        assertEquals("1-0", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
    }

    @Test
    void shouldAddUpTheTokensOfASourceWord() {
        TokenizedText source = Texts.pieces("un anti|constitu|tion");
        TokenizedText target = Texts.pieces("x");
        AlignmentMatrix matrix = matrix(new float[][] {{.4f, .2f, .2f, .1f, .1f}, {0, 0, 0, 0, 1}});
        assertEquals("0-0", pharaoh(WordLinks.overTokens(source, target, matrix, LinkChoice.DEFAULT)));
        assertEquals("1-0", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
    }

    @Test
    void shouldWeighTheTokensOfATargetWordAlike() {
        TokenizedText source = Texts.pieces("a b");
        TokenizedText target = Texts.pieces("x|y|z w");
        AlignmentMatrix matrix = matrix(new float[][] {
            {.9f, .1f, 0}, // x|y|z: 1.3 to a, 1.7 to b
            {.2f, .8f, 0},
            {.2f, .8f, 0},
            {.9f, .1f, 0}, // w
            {0, 0, 1}
        });
        assertEquals("0-0 1-1 1-2 0-3", pharaoh(WordLinks.overTokens(source, target, matrix, LinkChoice.DEFAULT)));
        assertEquals("1-0 0-1", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
    }

    @Test
    void shouldTakeTheFirstOnATie() {
        TokenizedText source = Texts.pieces("a b c");
        TokenizedText target = Texts.pieces("x");
        AlignmentMatrix matrix = matrix(new float[][] {{.2f, .4f, .4f, 0}, {0, 0, 0, 1}});
        assertEquals("1-0", pharaoh(WordLinks.overTokens(source, target, matrix, LinkChoice.DEFAULT)));
        assertEquals("1-0", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
    }

    @Test
    void shouldKeepPunctuationWithTheWordItTouches() {
        TokenizedText source = Texts.pieces("oui|, merci|.");
        TokenizedText target = Texts.pieces("yes|, thanks|.");
        AlignmentMatrix matrix = matrix(new float[][] {
            {.6f, .1f, .1f, .1f, .1f},
            {.1f, .2f, .1f, .5f, .1f}, // the comma looks at the full stop
            {.1f, .1f, .6f, .1f, .1f},
            {.1f, .1f, .1f, .6f, .1f},
            {0, 0, 0, 0, 1}
        });
        assertEquals("0-0 3-1 2-2 3-3", pharaoh(WordLinks.overTokens(source, target, matrix, LinkChoice.DEFAULT)));
        assertEquals("0-0 1-1", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
    }

    @Test
    void shouldLinkEveryTokenOfATruncatedTarget() {
        TokenizedText source = Texts.pieces("a b");
        TokenizedText target = new TokenizedText(
                "x y", new long[] {7, 8}, List.of(new TokenSpan("▁x", 0, 1), new TokenSpan("▁y", 2, 3)), false);
        AlignmentMatrix matrix = matrix(new float[][] {{.8f, .1f, .1f}, {.1f, .8f, .1f}});
        assertEquals("0-0 1-1", pharaoh(WordLinks.overTokens(source, target, matrix, LinkChoice.DEFAULT)));
        assertEquals("0-0 1-1", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
    }

    @Test
    void shouldGiveATokenOfSpaceToTheWordAfterIt() {
        TokenizedText source = Texts.pieces("a b");
        TokenizedText target = new TokenizedText(
                "x y",
                new long[] {7, 3, 8, 2},
                List.of(
                        new TokenSpan("▁x", 0, 1),
                        new TokenSpan("<unk>", 1, 1), // stands before the space
                        new TokenSpan("▁y", 2, 3),
                        new TokenSpan("</s>", 3, 3)),
                true);
        AlignmentMatrix matrix = matrix(new float[][] {{.6f, .4f, 0}, {.1f, .9f, 0}, {.6f, .4f, 0}, {0, 0, 1}});
        assertEquals("0-0 1-1", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
    }

    /** [x, y, z, w, end] x [a, b, c, d, end] of the texts {@code a b|c d} and {@code x|y z w}. */
    private static final float[][] CHOOSING = {
        {.35f, .25f, .15f, .10f, .15f},
        {.45f, .10f, .05f, .15f, .25f},
        {.05f, .10f, .05f, .10f, .70f},
        {.00f, .25f, .25f, .00f, .50f},
        {0, 0, 0, 0, 1}
    };

    private static LinkChoice choice(String end, String merge, Float threshold) {
        return new LinkChoice(
                LinkChoice.End.valueOf(end.toUpperCase(Locale.ROOT)),
                LinkChoice.Merge.valueOf(merge.toUpperCase(Locale.ROOT)),
                threshold);
    }

    /** The links are those of {@code Choice} in link_choices.py. */
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "dropped ; mean ;  ; 0-0 1-1 1-2",
                "dropped ; mean ; 0.2 ; 0-0 1-0 1-2",
                "dropped ; mean ; 0.3 ; 0-0 1-2",
                "dropped ; sum ;  ; 0-0 1-1 1-2",
                "dropped ; sum ; 0.2 ; 0-0 1-0 2-0 1-2",
                "dropped ; sum ; 0.3 ; 0-0 1-0 1-2",
                "dropped ; max ;  ; 0-0 1-1 1-2",
                "dropped ; max ; 0.2 ; 0-0 1-0 1-2",
                "dropped ; max ; 0.3 ; 0-0 1-0 1-2",
                "renormalised ; mean ;  ; 0-0 1-1 1-2",
                "renormalised ; mean ; 0.2 ; 0-0 1-0 1-1 2-1 1-2",
                "renormalised ; mean ; 0.3 ; 0-0 1-0 1-1 2-1 1-2",
                "renormalised ; sum ;  ; 0-0 1-1 1-2",
                "renormalised ; sum ; 0.2 ; 0-0 1-0 2-0 1-1 2-1 1-2",
                "renormalised ; sum ; 0.3 ; 0-0 1-0 2-0 1-1 2-1 1-2",
                "renormalised ; max ;  ; 0-0 1-1 1-2",
                "renormalised ; max ; 0.2 ; 0-0 1-0 2-0 1-1 2-1 1-2",
                "renormalised ; max ; 0.3 ; 0-0 1-0 1-1 2-1 1-2",
                "kept ; mean ;  ; 0-0 1-2",
                "kept ; mean ; 0.2 ; 0-0 1-0 1-2",
                "kept ; mean ; 0.3 ; 0-0 1-2",
                "kept ; sum ;  ; 0-0 1-2",
                "kept ; sum ; 0.2 ; 0-0 1-0 2-0 1-2",
                "kept ; sum ; 0.3 ; 0-0 1-0 1-2",
                "kept ; max ;  ; 0-0 1-2",
                "kept ; max ; 0.2 ; 0-0 1-0 1-2",
                "kept ; max ; 0.3 ; 0-0 1-0 1-2"
            })
    void shouldReadLinksOverWordsAsTheBundleSays(String end, String merge, Float threshold, String links) {
        TokenizedText source = Texts.pieces("a b|c d");
        TokenizedText target = Texts.pieces("x|y z w");
        assertEquals(
                links, pharaoh(WordLinks.overWords(source, target, matrix(CHOOSING), choice(end, merge, threshold))));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "dropped ;  ; 0-0 0-1 1-2 1-3",
                "dropped ; 0.25 ; 0-0 1-0 0-1 1-3 2-3",
                "renormalised ;  ; 0-0 0-1 1-2 1-3",
                "renormalised ; 0.25 ; 0-0 1-0 0-1 1-2 3-2 1-3 2-3",
                "kept ;  ; 0-0 0-1",
                "kept ; 0.25 ; 0-0 1-0 0-1"
            })
    void shouldReadLinksOverTokensAsTheBundleSays(String end, Float threshold, String links) {
        TokenizedText source = Texts.pieces("a b|c d");
        TokenizedText target = Texts.pieces("x|y z w");
        for (String merge : List.of("mean", "sum", "max")) {
            assertEquals(
                    links,
                    pharaoh(WordLinks.overTokens(source, target, matrix(CHOOSING), choice(end, merge, threshold))));
        }
    }

    /** The links are those of {@code Choice} in alignment.py. */
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "dropped ; ; INTERSECTION ; ; 3-0 5-1 2-3",
                "dropped ; 0.4 ; INTERSECTION ; ; 3-0 2-3",
                "dropped ; 0.3 ; INTERSECTION ; 0.4 ; 3-0 2-3",
                "dropped ; ; GROW_DIAG ; ; 3-0 4-0 5-1 3-2 2-3 2-4 2-5",
                "dropped ; 0.4 ; GROW_DIAG ; ; 3-0 4-0 5-1 3-2 2-3 2-4",
                "dropped ; ; GROW_DIAG ; 0.3 ; 3-0 5-1 3-2 2-3 2-4 2-5",
                "dropped ; 0.3 ; GROW_DIAG ; 0.4 ; 3-0 3-2 2-3 2-4 2-5",
                "kept ; ; GROW_DIAG ; ; 3-0 4-0 5-1 2-3 2-4 2-5",
                "kept ; 0.4 ; GROW_DIAG ; ; 3-0 4-0 5-1 2-3 2-4",
                "kept ; 0.3 ; GROW_DIAG ; 0.4 ; 3-0 2-3 2-4 2-5"
            })
    void shouldJoinWhatTargetWordsAndSourceWordsChoose(
            String end, Float threshold, LinkChoice.Joined joined, Float sourceThreshold, String links) {
        AlignmentMatrix matrix = matrix(new float[][] {
            {.00f, .01f, .00f, .80f, .04f, .14f, .01f},
            {.14f, .28f, .09f, .03f, .02f, .38f, .06f},
            {.00f, .04f, .12f, .40f, .00f, .03f, .41f},
            {.02f, .00f, .77f, .06f, .01f, .00f, .14f},
            {.19f, .00f, .46f, .26f, .00f, .02f, .07f},
            {.02f, .03f, .34f, .00f, .03f, .34f, .24f},
            {0, 0, 0, 0, 0, 0, 1}
        });
        LinkChoice choice = new LinkChoice(
                LinkChoice.End.valueOf(end.toUpperCase(Locale.ROOT)),
                LinkChoice.Merge.MEAN,
                threshold,
                joined,
                sourceThreshold);
        TokenizedText source = Texts.pieces("a b c d e f");
        TokenizedText target = Texts.pieces("u v w x y z");
        assertEquals(links, pharaoh(WordLinks.overWords(source, target, matrix, choice)));
        assertEquals(links, pharaoh(WordLinks.overTokens(source, target, matrix, choice)));
    }

    /** [x, y, z, w, end] x [a, b, c, d, end] of the texts {@code a b|c d} and {@code x|y z w}. */
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "MEAN ; GROW_DIAG ; 0-0 2-0 1-1 1-2",
                "MAX ; GROW_DIAG ; 0-0 2-0 1-1 1-2",
                "MEAN ; INTERSECTION ; 0-0 1-2"
            })
    void shouldJoinWordsOfSeveralTokens(LinkChoice.Merge merge, LinkChoice.Joined joined, String links) {
        LinkChoice choice = new LinkChoice(LinkChoice.End.DROPPED, merge, null, joined, null);
        TokenizedText source = Texts.pieces("a b|c d");
        TokenizedText target = Texts.pieces("x|y z w");
        assertEquals(links, pharaoh(WordLinks.overWords(source, target, matrix(CHOOSING), choice)));
    }

    @Test
    void shouldAddUpInFloatsAsWhereTheChoiceWasScored() {
        TokenizedText source = Texts.pieces("a|b c"); // in float32 0.1 + 0.2 is 0.3: a tie, the first wins
        TokenizedText target = Texts.pieces("x");
        AlignmentMatrix matrix = matrix(new float[][] {{.1f, .2f, .3f, .4f}, {0, 0, 0, 1}});
        assertEquals("0-0", pharaoh(WordLinks.overWords(source, target, matrix, LinkChoice.DEFAULT)));
        assertEquals("0-0 1-0", pharaoh(WordLinks.overWords(source, target, matrix, choice("dropped", "mean", .3f))));
    }

    @Test
    void shouldGiveAKeptEndNoLinkButLetAWordWinATie() {
        TokenizedText source = Texts.pieces("a b");
        TokenizedText target = Texts.pieces("x y");
        AlignmentMatrix matrix = matrix(new float[][] {{.1f, .45f, .45f}, {.3f, .2f, .5f}, {0, 0, 1}});
        assertEquals("1-0", pharaoh(WordLinks.overWords(source, target, matrix, choice("kept", "mean", null))));
        assertEquals("1-0", pharaoh(WordLinks.overTokens(source, target, matrix, choice("kept", "mean", null))));
        assertEquals("1-0", pharaoh(WordLinks.overWords(source, target, matrix, choice("kept", "mean", .25f))));
    }

    @Test
    void shouldGiveARowWithNothingOnWordsTheFirstOne() {
        TokenizedText source = Texts.pieces("a b");
        TokenizedText target = Texts.pieces("x");
        AlignmentMatrix matrix = matrix(new float[][] {{0, 0, 1}, {0, 0, 1}});
        assertEquals("0-0", pharaoh(WordLinks.overWords(source, target, matrix, choice("renormalised", "mean", null))));
        assertEquals("", pharaoh(WordLinks.overWords(source, target, matrix, choice("renormalised", "mean", .1f))));
    }

    @Test
    void shouldLinkNothingToNothing() {
        TokenizedText some = Texts.pieces("a b");
        TokenizedText empty = Texts.ofLength("", 1);
        assertEquals(
                List.of(),
                WordLinks.overTokens(
                        empty, some, new AlignmentMatrix(3, 1, new float[] {1, 1, 1}), LinkChoice.DEFAULT));
        assertEquals(
                List.of(),
                WordLinks.overWords(empty, some, new AlignmentMatrix(3, 1, new float[] {1, 1, 1}), LinkChoice.DEFAULT));
        assertEquals(
                List.of(),
                WordLinks.overTokens(
                        some, empty, new AlignmentMatrix(1, 3, new float[] {0, 0, 1}), LinkChoice.DEFAULT));
        assertEquals(
                List.of(),
                WordLinks.overWords(some, empty, new AlignmentMatrix(1, 3, new float[] {0, 0, 1}), LinkChoice.DEFAULT));
    }

    private static String pharaoh(List<WordLinks.Link> links) {
        return links.stream().map(WordLinks.Link::toString).collect(Collectors.joining(" "));
    }

    private static AlignmentMatrix matrix(float[][] rows) {
        float[] weights = new float[rows.length * rows[0].length];
        for (int row = 0; row < rows.length; row++) {
            System.arraycopy(rows[row], 0, weights, row * rows[0].length, rows[0].length);
        }
        return new AlignmentMatrix(rows.length, rows[0].length, weights);
    }
}
