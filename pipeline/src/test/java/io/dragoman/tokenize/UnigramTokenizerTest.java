package io.dragoman.tokenize;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The same tokenizer on a unigram model (SentencePiece), whose special ids stand elsewhere. */
class UnigramTokenizerTest {
    private static final long END = 0;
    private static final long UNKNOWN = 1;
    private static final long PAD = 43;

    private static SubwordTokenizer tokenizer;

    @BeforeAll
    static void open() {
        tokenizer = UnigramTokenizer.open();
    }

    @AfterAll
    static void close() {
        tokenizer.close();
    }

    @Test
    void shouldCutATextIntoItsLikeliestPiecesAndEndIt() {
        TokenizedText text = tokenizer.tokenize("le chat noirs");
        assertArrayEquals(new long[] {5, 6, 7, 34, END}, text.ids());
        assertEquals(List.of("▁le[le]", "▁chat[chat]", "▁noir[noir]", "s[s]", "</s>[]"), covered(text));
        assertTrue(text.ended());
        assertEquals(UnigramTokenizer.SIZE, tokenizer.vocabularySize());
        assertEquals(OptionalLong.of(UNKNOWN), tokenizer.unknownId());
    }

    @Test
    void shouldCountUtf16UnitsOfWhatItHasNoPieceFor() {
        TokenizedText text = tokenizer.tokenize("😀 chat ß😀");
        assertArrayEquals(new long[] {13, UNKNOWN, 6, 13, UNKNOWN, END}, text.ids());
        assertEquals(new TokenSpan("▁chat", 3, 7), text.tokens().get(2));
        assertEquals(new TokenSpan("<unk>", 8, 11), text.tokens().get(4), "one for all that is unknown side by side");
        assertEquals(new TokenSpan("</s>", 11, 11), text.tokens().get(5));
    }

    @Test
    void shouldKeepSpansRightAcrossANormalizedCharacter() {
        TokenizedText text = tokenizer.tokenize("ﬁn \t été");
        assertEquals(List.of("▁", "f", "i", "n", "▁", "é", "t", "é", "</s>"), pieces(text));
        assertEquals(new TokenSpan("n", 1, 2), text.tokens().get(3));
        assertEquals(new TokenSpan("é", 5, 6), text.tokens().get(5));
    }

    /** A unigram model finds its special pieces in a text; an end in the middle would end it there. */
    @ParameterizedTest
    @CsvSource({"a</s>b", "a<pad>b", "a<unk>b"})
    void shouldTakeATextThatLooksLikeASpecialTokenAsUnknown(String text) {
        TokenizedText tokenized = tokenizer.tokenize(text);
        assertArrayEquals(new long[] {13, 16, UNKNOWN, 17, END}, tokenized.ids());
        assertEquals("<unk>", tokenized.tokens().get(2).piece());
        assertEquals(4, tokenized.wordTokens().size());
    }

    @Test
    void shouldSpellATextFromIdsWithSpansIntoIt() {
        TokenizedText text = tokenizer.detokenize(new long[] {2, 4, 3, 14, END});
        assertEquals("the black cat.", text.text());
        assertEquals(List.of("▁the[the]", "▁black[black]", "▁cat[cat]", ".[.]", "</s>[]"), covered(text));
        assertTrue(text.ended());
        assertFalse(tokenizer.detokenize(new long[] {2, 4}).ended());
    }

    @Test
    void shouldGiveSpecialIdsNoText() {
        TokenizedText text = tokenizer.detokenize(new long[] {PAD, 2, UNKNOWN, 3, END});
        assertEquals("the cat", text.text());
        assertEquals(List.of("<pad>[]", "▁the[the]", "<unk>[]", "▁cat[cat]", "</s>[]"), covered(text));
    }

    @Test
    void shouldTakeAPieceThatLooksLikeAByteForTextWhenThereIsNoFallback() {
        assertEquals("a<0x41>", tokenizer.detokenize(new long[] {16, 15, END}).text());
    }

    @Test
    void shouldSpellWhatItCut() {
        for (String text : List.of("le chat noir.", "the black cat", "un été", "a b c")) {
            assertEquals(
                    text,
                    tokenizer.detokenize(tokenizer.tokenize(text).ids()).text().strip());
        }
    }

    @Test
    void shouldFallBackToBytesWhenTheModelDoes(@TempDir Path folder) throws IOException {
        StringBuilder vocabulary = new StringBuilder("[\"</s>\",0],[\"<unk>\",0],[\"\u2581\",-1]");
        for (int i = 0; i < 256; i++) {
            vocabulary.append(String.format(",[\"<0x%02X>\",-9]", i));
        }
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(
                file,
                "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],\"normalizer\":null,"
                        + "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\","
                        + "\"prepend_scheme\":\"always\",\"split\":true},\"post_processor\":null,"
                        + "\"decoder\":{\"type\":\"ByteFallback\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":1,"
                        + "\"byte_fallback\":true,\"vocab\":[" + vocabulary + "]}}");
        try (SubwordTokenizer bytes = SubwordTokenizer.load(file, new SubwordTokenizer.SpecialIds(0, 0, 0, 1))) {
            TokenizedText text = bytes.tokenize("ß");
            assertArrayEquals(new long[] {2, 3 + 0xc3, 3 + 0x9f, 0}, text.ids());
            assertEquals(new TokenSpan("<0xC3>", 0, 1), text.tokens().get(1));
            assertEquals("ß", bytes.detokenize(text.ids()).text());
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "[1] ; entries of model.vocab should be [piece, score]: entry 0 was 1",
                "[[\"a\", 0], [\"b\"]] ; entries of model.vocab should be [piece, score]: entry 1 was [\"b\"]",
                "[[\"a\", \"b\"]] ; entries of model.vocab should be [piece, score]: entry 0 was [\"a\",\"b\"]",
                "[] ; should have a vocabulary at model.vocab"
            })
    void shouldSayWhatIsWrongWithAVocabulary(String vocabulary, String message, @TempDir Path folder)
            throws IOException {
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(file, "{\"model\": {\"type\": \"Unigram\", \"vocab\": " + vocabulary + "}}");
        IOException e = assertThrows(IOException.class, () -> SubwordTokenizer.load(file, UnigramTokenizer.SPECIAL));
        assertEquals(file + ": " + message, e.getMessage());
    }

    private static List<String> pieces(TokenizedText text) {
        return text.tokens().stream().map(TokenSpan::piece).toList();
    }

    /** Every token as {@code piece[what it covers]}. */
    private static List<String> covered(TokenizedText text) {
        return text.tokens().stream()
                .map(token -> token.piece() + "[" + text.text().substring(token.start(), token.end()) + "]")
                .toList();
    }
}
