package io.dragoman.tokenize;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.ibm.icu.text.BreakIterator;
import io.dragoman.tokenize.Segmentation.Extent;
import io.dragoman.tokenize.Segmentation.Nothing;
import io.dragoman.tokenize.Segmentation.Pieces;
import io.dragoman.tokenize.Segmentation.TooLong;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class SegmenterTest {
    private static SubwordTokenizer bytePairs;
    private static SubwordTokenizer unigram;

    @BeforeAll
    static void open() {
        bytePairs = TinyTokenizer.open();
        unigram = UnigramTokenizer.open();
    }

    @AfterAll
    static void close() {
        bytePairs.close();
        unigram.close();
    }

    private static Segmenter segmenter(LengthPolicy policy, int maxTokens) {
        return new Segmenter(bytePairs, "fr", new Segmenter.Limits(policy, "tiny", maxTokens, 10_000_000));
    }

    private static Pieces pieces(LengthPolicy policy, int maxTokens, String text) {
        return assertInstanceOf(Pieces.class, segmenter(policy, maxTokens).segment(text));
    }

    /** Each piece and, behind a stroke, what it ends at. */
    private static List<String> shown(Pieces pieces, String text) {
        return pieces.list().stream()
                .map(piece -> text.substring(piece.start(), piece.end()) + "|" + piece.cut())
                .toList();
    }

    @Test
    void shouldLeaveATextThatFitsWhole() {
        String text = " Le chat. Le noir. ";
        for (LengthPolicy policy : List.of(LengthPolicy.REJECT, LengthPolicy.TRUNCATE, LengthPolicy.SPLIT)) {
            Pieces pieces = pieces(policy, 100, text);
            assertEquals(Extent.WHOLE, pieces.extent());
            assertEquals(List.of(text + "|TEXT"), shown(pieces, text));
            assertEquals(text, pieces.list().get(0).tokens().text());
        }
    }

    @Test
    void shouldSplitATextThatDoesNotFitIntoItsSentences() {
        String text = "Le chat est noir.  Est-il noir ?\nOui !";
        Pieces pieces = pieces(LengthPolicy.SPLIT, 20, text);
        assertEquals(Extent.SPLIT, pieces.extent());
        assertEquals(
                List.of("Le chat est noir.|SENTENCE", "Est-il noir ?|SENTENCE", "Oui !|TEXT"), shown(pieces, text));
        assertEquals(19, pieces.list().get(1).start());
        assertEquals(new TokenSpan("</s>", 13, 13), last(pieces.list().get(1)));
    }

    private static TokenSpan last(Piece piece) {
        return piece.tokens().tokens().get(piece.tokens().length() - 1);
    }

    @Test
    void shouldSplitATextThatFitsIntoItsSentencesWhenToldTo() {
        String text = "Le chat. Le noir.\n";
        assertEquals(
                List.of("Le chat.|SENTENCE", "Le noir.|TEXT"), shown(pieces(LengthPolicy.SENTENCES, 100, text), text));
        assertEquals(
                Extent.WHOLE,
                pieces(LengthPolicy.SENTENCES, 100, "Le chat noir.").extent());
    }

    @Test
    void shouldNotTakeAnAbbreviationOfTheLanguageForASentence() {
        String text = "Voici M. Dupont. Il dort.";
        assertEquals(
                List.of("Voici M. Dupont.|SENTENCE", "Il dort.|TEXT"),
                shown(pieces(LengthPolicy.SENTENCES, 100, text), text));
    }

    @Test
    void shouldSplitAtClausesThenAtWordsThenAtCharacters() {
        String clauses = "le chat noir le chat, le chat noir le chat noir";
        assertEquals(
                List.of("le chat noir le chat,|CLAUSE", "le chat noir le chat noir|TEXT"),
                shown(pieces(LengthPolicy.SPLIT, 10, clauses), clauses));
        String words = "le chat noir le chat le chat noir le chat noir";
        assertEquals(
                List.of("le chat noir le chat le|WORD", "chat noir le chat noir|TEXT"),
                shown(pieces(LengthPolicy.SPLIT, 8, words), words));
        String letters = "xyzxyzxyzxyz";
        assertEquals(
                List.of("xyzxy|CHARACTER", "zxyzx|CHARACTER", "yz|TEXT"),
                shown(pieces(LengthPolicy.SPLIT, 7, letters), letters)); // a word start, five letters and the end
    }

    @Test
    void shouldNotSplitNumbersOrHyphenatedWordsBeforeItHasTo() {
        String text = "le 1,000,000 porte-avions";
        for (String piece : shown(pieces(LengthPolicy.SPLIT, 24, text), text)) {
            assertTrue(
                    List.of("le 1,000,000|WORD", "porte-avions|TEXT").contains(piece)
                            || piece.startsWith("le 1,000,000"),
                    piece);
        }
    }

    @Test
    void shouldCutWhereScriptsWithoutSpacesHaveTheirSentencesAndClauses() {
        String text = "你好，世界。我很好，谢谢！";
        Pieces pieces = pieces(LengthPolicy.SPLIT, 24, text);
        assertEquals(List.of("你好，世界。|SENTENCE", "我很好，谢谢！|TEXT"), shown(pieces, text));
        assertEquals(
                Cut.CLAUSE, pieces(LengthPolicy.SPLIT, 15, text).list().get(0).cut());
    }

    @Test
    void shouldTruncateAtASentence() {
        String text = "Le chat. Le noir. Le chat noir, le chat noir.";
        Pieces pieces = pieces(LengthPolicy.TRUNCATE, 15, text);
        assertEquals(Extent.TRUNCATED, pieces.extent());
        assertEquals(List.of("Le chat. Le noir.|SENTENCE"), shown(pieces, text));
    }

    @Test
    void shouldRejectWithLimitFindingAndRemedy() {
        assertEquals(
                new TooLong("a text should have at most 5 subword tokens for the model tiny: has 6; split it into"
                        + " sentences, or set text.length.policy to split"),
                segmenter(LengthPolicy.REJECT, 5).segment("le chat le chat le"));
        assertEquals(
                new TooLong("a text should have at most 5 subword tokens for the model tiny: has 1000000 characters;"
                        + " split it into sentences, or set text.length.policy to split"),
                segmenter(LengthPolicy.REJECT, 5).segment("a".repeat(1_000_000)));
    }

    @Test
    void shouldRejectWhatHasMoreTokensThanATextMayHave() {
        Segmenter segmenter = new Segmenter(bytePairs, "fr", new Segmenter.Limits(LengthPolicy.SPLIT, "tiny", 5, 14));
        assertInstanceOf(Pieces.class, segmenter.segment("le chat. le chat. ".repeat(1)));
        assertEquals(
                new TooLong(
                        "a text should have at most 14 subword tokens in all its pieces (text.max.tokens): has more"),
                segmenter.segment("le chat le chat le chat le chat le chat le chat"));
    }

    @Test
    void shouldNotSplitACharacterEvenWhenItHasMoreMarksThanFit() {
        String one = "e" + "\u0301".repeat(50);
        assertEquals(
                new TooLong("a character with its marks should have at most 20 subword tokens for the model tiny: has"
                        + " more, and cannot be split"),
                segmenter(LengthPolicy.SPLIT, 20).segment("le chat " + one));
        assertInstanceOf(TooLong.class, segmenter(LengthPolicy.TRUNCATE, 20).segment(one));
    }

    @ParameterizedTest
    @EnumSource(LengthPolicy.class)
    void shouldFindNothingInWhatCannotBeSeen(LengthPolicy policy) {
        for (String text : List.of("", " ", "\u200b", "\n\n")) {
            assertEquals(new Nothing(), segmenter(policy, 10).segment(text));
        }
    }

    @Test
    void shouldRefuseHalfACharacter() {
        assertThrows(IllegalArgumentException.class, () -> segmenter(LengthPolicy.SPLIT, 10)
                .segment("le \ud83d chat"));
    }

    /** Letters, words and signs of many scripts, marks, joiners, directions, white space, and what is no character. */
    private static final List<String> ODD = List.of(
            "a",
            "é",
            "e\u0301",
            "le",
            "chat",
            "noir",
            " ",
            " ",
            " ",
            "  ",
            "\u00a0",
            "\u3000",
            "\t",
            "\n",
            "\r\n",
            "\u2028",
            ".",
            ". ",
            "! ",
            "? ",
            ", ",
            "; ",
            ": ",
            "…",
            "—",
            "-",
            "'",
            "« ",
            " »",
            "(",
            ")",
            "\"",
            "1,000",
            "3.14",
            "😀",
            "👩‍👩‍👧",
            "🇫🇷",
            "👍🏽",
            "❤️",
            "שלום",
            " עולם ",
            "مرحبا، ",
            "\u202eabc\u202c",
            "\u200f",
            "你好",
            "。",
            "，",
            "ภาษาไทย",
            "한국어",
            "नमस्ते",
            "क्षि",
            "\u200b",
            "\u200d",
            "\ufeff",
            "\u0000",
            "\u0085",
            "\u0301\u0302",
            "ﷺ",
            "M. ",
            "etc. ",
            "https://a.b/c?d=e",
            "𝔘𝔫𝔦",
            "\uffff",
            "ﬁ",
            "ǆ",
            "İ");

    private static String odd(Random random, int parts) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < parts; i++) {
            text.append(
                    ODD.get(random.nextInt(ODD.size())).repeat(random.nextInt(20) == 0 ? 1 + random.nextInt(60) : 1));
        }
        return text.toString();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void shouldCoverEveryVisibleCharacterOnceWithPiecesThatFit(boolean other) {
        SubwordTokenizer tokenizer = other ? unigram : bytePairs;
        Random random = new Random(7);
        int split = 0;
        for (int round = 0; round < 1500; round++) {
            String text = odd(random, 1 + random.nextInt(60));
            int most = 24 + random.nextInt(40);
            LengthPolicy policy = random.nextInt(4) == 0 ? LengthPolicy.SENTENCES : LengthPolicy.SPLIT;
            Segmentation found =
                    new Segmenter(tokenizer, "fr", new Segmenter.Limits(policy, "tiny", most, 1_000_000)).segment(text);
            String said = "round " + round;
            if (found instanceof Nothing) {
                assertEquals(1, tokenizer.tokenize(text).length(), said);
            } else if (found instanceof Pieces pieces) {
                assertSound(tokenizer, text, most, pieces, said);
                split += pieces.extent() == Extent.SPLIT ? 1 : 0;
            } else {
                assertTrue(longestCharacter(tokenizer, text) > most, said);
            }
        }
        assertTrue(split > 300, "split " + split);
    }

    private static void assertSound(SubwordTokenizer tokenizer, String text, int most, Pieces pieces, String said) {
        BreakIterator characters = BreakIterator.getCharacterInstance();
        characters.setText(text);
        int at = 0;
        for (Piece piece : pieces.list()) {
            assertTrue(piece.start() >= at && piece.end() > piece.start(), said);
            assertInvisible(tokenizer, text.substring(at, piece.start()), said);
            assertTrue(piece.tokens().length() > 1 && piece.tokens().length() <= most, said);
            assertEquals(
                    text.substring(piece.start(), piece.end()), piece.tokens().text(), said);
            assertTrue(characters.isBoundary(piece.start()) && characters.isBoundary(piece.end()), said);
            int last = 0;
            for (TokenSpan token : piece.tokens().tokens()) {
                assertTrue(token.start() >= 0 && token.end() <= piece.end() - piece.start(), said);
                assertTrue(token.start() >= last || token.start() <= token.end(), said);
                last = token.start();
            }
            at = piece.end();
        }
        assertInvisible(tokenizer, text.substring(at), said);
    }

    private static void assertInvisible(SubwordTokenizer tokenizer, String gap, String said) {
        assertEquals(1, tokenizer.tokenize(gap).length(), () -> said + ", left out: " + gap);
    }

    private static int longestCharacter(SubwordTokenizer tokenizer, String text) {
        BreakIterator characters = BreakIterator.getCharacterInstance();
        characters.setText(text);
        int longest = 0;
        for (int from = characters.first(), to = characters.next(); to != BreakIterator.DONE; to = characters.next()) {
            longest = Math.max(
                    longest, tokenizer.tokenize(text.substring(from, to)).length());
            from = to;
        }
        return longest;
    }

    @Test
    void shouldTruncateOddTextsToABeginningThatFits() {
        Random random = new Random(8);
        for (int round = 0; round < 500; round++) {
            String text = odd(random, 1 + random.nextInt(60));
            int most = 24 + random.nextInt(40);
            if (segmenter(LengthPolicy.TRUNCATE, most).segment(text) instanceof Pieces pieces) {
                Piece piece = pieces.list().get(0);
                assertTrue(piece.tokens().length() <= most);
                assertInvisible(bytePairs, text.substring(0, piece.start()), "round " + round);
                assertTrue(pieces.extent() == Extent.WHOLE || piece.end() < text.length());
            }
        }
    }

    /** A megabyte each; in all of them nothing may take time or memory that grows with the square of the length. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "a", "e\u0301", " ", "\u200b", "😀", "🇫🇷", "\u0301", "ก", "你", "A. ", "! ", ") ", "\n", "M. ", "a,",
                "-", "\u200d", "«", "a. 1 "
            })
    void shouldTakeAMegabyteInItsStride(String unit) {
        String text = unit.repeat(1_000_000 / unit.length());
        for (LengthPolicy policy : List.of(LengthPolicy.SPLIT, LengthPolicy.TRUNCATE)) {
            assertTimeout(
                    Duration.ofSeconds(20),
                    () -> new Segmenter(bytePairs, "fr", new Segmenter.Limits(policy, "tiny", 512, 8192)).segment(text),
                    () -> policy + " of " + unit);
        }
    }

    @Test
    void shouldSplitAMegabyteWhenItIsAllowedTo() {
        String text = "a".repeat(1_000_000);
        Pieces pieces = pieces(LengthPolicy.SPLIT, 512, text);
        assertEquals(
                1_000_000,
                pieces.list().stream().mapToInt(p -> p.end() - p.start()).sum());
        assertTrue(
                pieces.list().size() < 2 * 1_000_000 / 510,
                "pieces " + pieces.list().size());
    }

    @Test
    void shouldGiveTheSamePiecesToManyThreads() throws Exception {
        Segmenter segmenter = segmenter(LengthPolicy.SPLIT, 24);
        Random random = new Random(9);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            texts.add(odd(random, 50));
        }
        List<String> alone = texts.stream()
                .map(text -> String.valueOf(spans(segmenter.segment(text))))
                .toList();
        ExecutorService threads = Executors.newFixedThreadPool(4);
        try {
            Callable<List<String>> all = () -> texts.stream()
                    .map(text -> String.valueOf(spans(segmenter.segment(text))))
                    .toList();
            for (Future<List<String>> found : threads.invokeAll(List.of(all, all, all, all))) {
                assertEquals(alone, found.get());
            }
        } finally {
            threads.shutdown();
        }
    }

    private static Object spans(Segmentation found) {
        return found instanceof Pieces pieces
                ? pieces.list().stream()
                        .map(p -> p.start() + "-" + p.end() + p.cut())
                        .toList()
                : found;
    }
}
