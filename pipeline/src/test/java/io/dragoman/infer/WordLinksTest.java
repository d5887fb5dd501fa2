package io.dragoman.infer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.dragoman.tokenize.Texts;
import io.dragoman.tokenize.TokenSpan;
import io.dragoman.tokenize.TokenizedText;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

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
        assertEquals("0-0 2-1 1-2", pharaoh(WordLinks.overTokens(source, target, matrix)));
        assertEquals("0-0 2-1 1-2", pharaoh(WordLinks.overWords(source, target, matrix)));
    }

    @Test
    void shouldLeaveTheEndOfTheSentenceOutOnBothSides() {
        TokenizedText source = Texts.pieces("a b");
        TokenizedText target = Texts.pieces("x");
        AlignmentMatrix matrix = matrix(new float[][] {
            {.05f, .15f, .8f}, // most on the end
            {.9f, .05f, .05f}
        });
        assertEquals("1-0", pharaoh(WordLinks.overTokens(source, target, matrix)));
        assertEquals("1-0", pharaoh(WordLinks.overWords(source, target, matrix)));
    }

    @Test
    void shouldAddUpTheTokensOfASourceWord() {
        TokenizedText source = Texts.pieces("un anti|constitu|tion");
        TokenizedText target = Texts.pieces("x");
        AlignmentMatrix matrix = matrix(new float[][] {{.4f, .2f, .2f, .1f, .1f}, {0, 0, 0, 0, 1}});
        assertEquals("0-0", pharaoh(WordLinks.overTokens(source, target, matrix)));
        assertEquals("1-0", pharaoh(WordLinks.overWords(source, target, matrix)));
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
        assertEquals("0-0 1-1 1-2 0-3", pharaoh(WordLinks.overTokens(source, target, matrix)));
        assertEquals("1-0 0-1", pharaoh(WordLinks.overWords(source, target, matrix)));
    }

    @Test
    void shouldTakeTheFirstOnATie() {
        TokenizedText source = Texts.pieces("a b c");
        TokenizedText target = Texts.pieces("x");
        AlignmentMatrix matrix = matrix(new float[][] {{.2f, .4f, .4f, 0}, {0, 0, 0, 1}});
        assertEquals("1-0", pharaoh(WordLinks.overTokens(source, target, matrix)));
        assertEquals("1-0", pharaoh(WordLinks.overWords(source, target, matrix)));
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
        assertEquals("0-0 3-1 2-2 3-3", pharaoh(WordLinks.overTokens(source, target, matrix)));
        assertEquals("0-0 1-1", pharaoh(WordLinks.overWords(source, target, matrix)));
    }

    @Test
    void shouldLinkEveryTokenOfATruncatedTarget() {
        TokenizedText source = Texts.pieces("a b");
        TokenizedText target = new TokenizedText(
                "x y", new long[] {7, 8}, List.of(new TokenSpan("▁x", 0, 1), new TokenSpan("▁y", 2, 3)), false);
        AlignmentMatrix matrix = matrix(new float[][] {{.8f, .1f, .1f}, {.1f, .8f, .1f}});
        assertEquals("0-0 1-1", pharaoh(WordLinks.overTokens(source, target, matrix)));
        assertEquals("0-0 1-1", pharaoh(WordLinks.overWords(source, target, matrix)));
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
        assertEquals("0-0 1-1", pharaoh(WordLinks.overWords(source, target, matrix)));
    }

    @Test
    void shouldLinkNothingToNothing() {
        TokenizedText some = Texts.pieces("a b");
        TokenizedText empty = Texts.ofLength("", 1);
        assertEquals(List.of(), WordLinks.overTokens(empty, some, new AlignmentMatrix(3, 1, new float[] {1, 1, 1})));
        assertEquals(List.of(), WordLinks.overWords(empty, some, new AlignmentMatrix(3, 1, new float[] {1, 1, 1})));
        assertEquals(List.of(), WordLinks.overTokens(some, empty, new AlignmentMatrix(1, 3, new float[] {0, 0, 1})));
        assertEquals(List.of(), WordLinks.overWords(some, empty, new AlignmentMatrix(1, 3, new float[] {0, 0, 1})));
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
