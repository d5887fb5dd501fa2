package io.dragoman.tokenize;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SubwordTokenizerTest {
    private static final long CHAT = 295;
    private static final long NO = 297;
    private static final long IR = 298;
    private static final long END = 2;

    private static SubwordTokenizer tokenizer;

    @BeforeAll
    static void open() {
        tokenizer = TinyTokenizer.open();
    }

    @AfterAll
    static void close() {
        tokenizer.close();
    }

    @Test
    void shouldCutATextIntoPiecesAndEndIt() {
        TokenizedText text = tokenizer.tokenize("le chat noir");
        assertArrayEquals(new long[] {291, CHAT, NO, IR, END}, text.ids());
        assertEquals(List.of("▁le[le]", "▁chat[chat]", "▁no[no]", "ir[ir]", "</s>[]"), covered(text));
        assertEquals(new TokenSpan("</s>", 12, 12), text.tokens().get(4));
        assertTrue(text.ended());
        assertEquals(5, text.length());
        assertEquals(4, text.wordTokens().size());
        assertEquals("le chat noir", text.text());
    }

    @Test
    void shouldGiveOnlyTheEndForNothing() {
        for (String text : List.of("", " ", "\u200b\ufeff", "\t\n")) {
            TokenizedText tokenized = tokenizer.tokenize(text);
            assertArrayEquals(new long[] {END}, tokenized.ids());
            assertEquals(List.of(new TokenSpan("</s>", text.length(), text.length())), tokenized.tokens());
        }
    }

    @Test
    void shouldCountUtf16UnitsAfterAnEmoji() {
        TokenizedText text = tokenizer.tokenize("😀 chat 😀😀 noir");
        assertEquals(new TokenSpan("▁chat", 3, 7), token(text, "▁chat"));
        assertEquals(new TokenSpan("▁no", 13, 15), token(text, "▁no"));
        assertEquals(new TokenSpan("ir", 15, 17), token(text, "ir"));
        assertEquals(new TokenSpan("<0xF0>", 0, 2), token(text, "<0xF0>"));
        assertEquals(new TokenSpan("</s>", 17, 17), token(text, "</s>"));
    }

    @Test
    void shouldLeaveSpacesOutOfSpans() {
        TokenizedText text = tokenizer.tokenize(" \t le \u00a0\u3000 chat\u2028noir \r\n");
        assertEquals(List.of("▁le[le]", "▁chat[chat]", "▁no[no]", "ir[ir]", "</s>[]"), covered(text));
        assertEquals(new TokenSpan("▁le", 3, 5), text.tokens().get(0));
        assertEquals(new TokenSpan("▁chat", 9, 13), text.tokens().get(1));
    }

    @Test
    void shouldKeepSpansRightAcrossRemovedAndComposedCharacters() {
        TokenizedText removed = tokenizer.tokenize("\ufeffle \u200bchat");
        assertEquals("le", covered(removed, "▁le").replace("\ufeff", ""));
        assertEquals("chat", covered(removed, "▁chat").replace("\u200b", ""));
        TokenizedText composed = tokenizer.tokenize("e\u0301 chat");
        assertEquals(287, composed.id(1)); // é in one character
        assertEquals("chat", covered(composed, "▁chat"));
    }

    @Test
    void shouldSpellWhatItHasNoPieceForInBytes() {
        TokenizedText text = tokenizer.tokenize("ß");
        assertArrayEquals(new long[] {260, 4 + 0xc3, 4 + 0x9f, END}, text.ids());
        assertEquals(new TokenSpan("<0xC3>", 0, 1), text.tokens().get(1));
        assertEquals(new TokenSpan("<0x9F>", 0, 1), text.tokens().get(2));
    }

    @Test
    void shouldTakeATextThatLooksLikeAnEndAsText() {
        TokenizedText text = tokenizer.tokenize("</s><pad>");
        assertEquals(1, LongStream.of(text.ids()).filter(id -> id < 4).count());
        assertEquals("</s><pad>", tokenizer.detokenize(text.ids()).text());
    }

    @ParameterizedTest
    @ValueSource(strings = {"a\ud83d", "\udc00b", "a\ud83d\ud83d\ude00"})
    void shouldRefuseHalfASurrogatePair(String text) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> tokenizer.tokenize(text));
        assertEquals("a text should be Unicode: has half of a surrogate pair", e.getMessage());
    }

    @Test
    void shouldSpellATextFromIdsWithSpansIntoIt() {
        TokenizedText text = tokenizer.detokenize(new long[] {303, 305, 309, 307, 288, END});
        assertEquals("the cat black.", text.text());
        assertEquals(List.of("▁the[the]", "▁cat[cat]", "▁bla[bla]", "ck[ck]", ".[.]", "</s>[]"), covered(text));
        assertEquals(new TokenSpan("▁bla", 8, 11), text.tokens().get(2));
        assertEquals(new TokenSpan("</s>", 14, 14), text.tokens().get(5));
        assertTrue(text.ended());
    }

    @Test
    void shouldSayWhenATargetHasNoEnd() {
        TokenizedText text = tokenizer.detokenize(new long[] {303, 305});
        assertFalse(text.ended());
        assertEquals(2, text.wordTokens().size());
        assertFalse(tokenizer.detokenize(new long[0]).ended());
        assertEquals("", tokenizer.detokenize(new long[0]).text());
    }

    @Test
    void shouldSpellARunOfBytesTogether() {
        // a 😀 b
        TokenizedText text = tokenizer.detokenize(new long[] {261, 4 + 0xf0, 4 + 0x9f, 4 + 0x98, 4 + 0x80, 262, END});
        assertEquals("a😀b", text.text());
        assertEquals(
                List.of("a[a]", "<0xF0>[😀]", "<0x9F>[😀]", "<0x98>[😀]", "<0x80>[😀]", "b[b]", "</s>[]"),
                covered(text));
        assertEquals(new TokenSpan("b", 3, 4), text.tokens().get(5));
    }

    @Test
    void shouldGiveAMarkForEachByteOfARunThatIsNoUtf8() {
        TokenizedText text = tokenizer.detokenize(new long[] {4 + 0xf0, 4 + 0x9f, 262, END});
        assertEquals("\ufffd\ufffdb", text.text());
        assertEquals(List.of("<0xF0>[\ufffd\ufffd]", "<0x9F>[\ufffd\ufffd]", "b[b]", "</s>[]"), covered(text));
        assertEquals(
                "\ufffd\ufffd",
                tokenizer.detokenize(new long[] {4 + 'A', 4 + 0xff}).text());
    }

    @Test
    void shouldEndWithARunOfBytes() {
        TokenizedText text = tokenizer.detokenize(new long[] {261, 4 + 0xc3, 4 + 0x9f, END});
        assertEquals("aß", text.text());
        assertEquals(new TokenSpan("</s>", 2, 2), text.tokens().get(3));
    }

    @Test
    void shouldLeaveSpacesAroundTheTextOut() {
        TokenizedText text = tokenizer.detokenize(new long[] {260, 260, 303, 305, 260, 4 + ' ', 4 + '\n', END});
        assertEquals("the cat", text.text());
        assertEquals(new TokenSpan("▁", 0, 0), text.tokens().get(0));
        assertEquals(new TokenSpan("▁the", 0, 3), text.tokens().get(2));
        assertEquals(new TokenSpan("▁", 7, 7), text.tokens().get(4));
        assertEquals(new TokenSpan("<0x20>", 7, 7), text.tokens().get(5));
        assertEquals(new TokenSpan("</s>", 7, 7), text.tokens().get(7));
        assertEquals("", tokenizer.detokenize(new long[] {260, 260, END}).text());
    }

    @Test
    void shouldLeaveSpacesSpelledInBytesOutOfSpans() {
        TokenizedText text = tokenizer.detokenize(new long[] {261, 4 + ' ', 4 + 'b', 4 + ' ', 263, END});
        assertEquals("a b c", text.text());
        assertEquals(new TokenSpan("<0x62>", 2, 3), text.tokens().get(2));
    }

    @Test
    void shouldGiveSpecialIdsNoText() {
        TokenizedText text = tokenizer.detokenize(new long[] {1, 303, 3, 305, 0, END});
        assertEquals("the cat", text.text());
        assertEquals(List.of("<s>[]", "▁the[the]", "<unk>[]", "▁cat[cat]", "<pad>[]", "</s>[]"), covered(text));
        assertEquals(
                "ß", tokenizer.detokenize(new long[] {4 + 0xc3, 3, 4 + 0x9f}).text());
    }

    @Test
    void shouldSpellWhatTheLibraryDecodes() throws IOException {
        try (HuggingFaceTokenizer library = HuggingFaceTokenizer.newInstance(TinyTokenizer.file(), Map.of())) {
            Random random = new Random(5);
            for (int i = 0; i < 300; i++) {
                long[] ids = random.longs(12, 4, TinyTokenizer.SIZE).toArray();
                long[] bytes = random.longs(3, 4, 260).toArray();
                System.arraycopy(bytes, 0, ids, 4, 3);
                assertEquals(
                        library.decode(ids, false).strip(),
                        tokenizer.detokenize(ids).text().strip());
            }
        }
    }

    @Test
    void shouldKeepEverySpanInsideItsTextAndInOrder() {
        Random random = new Random(20_151);
        String[] parts = {
            "chat",
            "noir",
            "le",
            " ",
            "  ",
            "\t",
            "\u00a0",
            "😀",
            "e\u0301",
            "ﬁ",
            "\u200b",
            "\u00ad",
            "ß",
            "中文",
            ".",
            "1",
            "\u2019",
            "👨\u200d👩\u200d👧",
            "\u0000",
            "zz",
            "\u2028",
            "\u2581",
            "\u0e33"
        };
        for (int i = 0; i < 2000; i++) {
            StringBuilder text = new StringBuilder();
            for (int j = random.nextInt(12); j >= 0; j--) {
                text.append(parts[random.nextInt(parts.length)]);
            }
            assertSpans(tokenizer.tokenize(text.toString()));
        }
        for (int i = 0; i < 2000; i++) {
            long[] ids = random.longs(random.nextInt(12), 0, TinyTokenizer.SIZE).toArray();
            assertSpans(tokenizer.detokenize(ids));
        }
    }

    private static void assertSpans(TokenizedText text) {
        int before = 0;
        for (TokenSpan token : text.tokens()) {
            String where = "'" + text.text() + "' " + text.tokens();
            assertTrue(token.start() >= before, where);
            assertTrue(token.end() <= text.text().length(), where);
            String covered = text.text().substring(token.start(), token.end());
            assertEquals(trimmed(covered), covered, where);
            before = token.start();
        }
    }

    private static String trimmed(String text) {
        int start = 0;
        int end = text.length();
        while (start < end && Words.isSpace(text.charAt(start))) {
            start++;
        }
        while (end > start && Words.isSpace(text.charAt(end - 1))) {
            end--;
        }
        return text.substring(start, end);
    }

    @Test
    void shouldSayWhatIsWrongWithAFile(@TempDir Path folder) throws IOException {
        assertLoadFails(folder, "{", "not JSON");
        assertLoadFails(folder, "[]", "should have a vocabulary at model.vocab");
        assertLoadFails(folder, "{\"model\": {\"vocab\": {}}}", "should have a vocabulary at model.vocab");
        assertLoadFails(
                folder, "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 2}}}", "ids should be 0 to 1, each once: was 2");
        assertLoadFails(
                folder, "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}}}", "ids should be 0 to 1, each once: was 0");
        assertLoadFails(folder, "{\"model\": {\"vocab\": {\"a\": 0}}}", "not a tokenizer");
    }

    private static void assertLoadFails(Path folder, String json, String message) throws IOException {
        Path file = folder.resolve("tokenizer.json");
        Files.write(file, json.getBytes(StandardCharsets.UTF_8));
        IOException e = assertThrows(IOException.class, () -> SubwordTokenizer.load(file, TinyTokenizer.SPECIAL));
        assertTrue(e.getMessage().startsWith(file + ": " + message), e.getMessage());
    }

    @Test
    void shouldNotBeChangedThroughItsArrays() {
        long[] ids = {10, END};
        List<TokenSpan> spans = new ArrayList<>(List.of(new TokenSpan("▁a", 0, 1), new TokenSpan("</s>", 1, 1)));
        TokenizedText text = new TokenizedText("a", ids, spans, true);
        ids[0] = 99;
        spans.clear();
        text.ids()[0] = 98;
        assertEquals(10, text.id(0));
        assertEquals(2, text.tokens().size());
        assertThrows(IllegalArgumentException.class, () -> new TokenizedText("a", new long[1], List.of(), true));
        assertThrows(IllegalArgumentException.class, () -> new TokenSpan("a", 2, 1));
        assertThrows(IllegalArgumentException.class, () -> new TokenSpan("a", -1, 1));
    }

    private static TokenSpan token(TokenizedText text, String piece) {
        return text.tokens().stream()
                .filter(token -> token.piece().equals(piece))
                .findFirst()
                .orElseThrow();
    }

    private static String covered(TokenizedText text, String piece) {
        TokenSpan token = token(text, piece);
        return text.text().substring(token.start(), token.end());
    }

    /** Every token as {@code piece[what it covers]}. */
    private static List<String> covered(TokenizedText text) {
        return text.tokens().stream()
                .map(token -> token.piece() + "[" + text.text().substring(token.start(), token.end()) + "]")
                .toList();
    }
}
