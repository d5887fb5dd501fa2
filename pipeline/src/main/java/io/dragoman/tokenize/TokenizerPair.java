package io.dragoman.tokenize;

/**
 * The tokenizers of a model's two languages; often the same one twice.
 *
 * @param source cuts the texts to translate
 * @param target spells translations, and cuts targets that are given
 */
public record TokenizerPair(SubwordTokenizer source, SubwordTokenizer target) implements AutoCloseable {
    /** One tokenizer for both languages. */
    public static TokenizerPair shared(SubwordTokenizer tokenizer) {
        return new TokenizerPair(tokenizer, tokenizer);
    }

    /** Closes both. */
    @Override
    public void close() {
        source.close();
        if (target != source) {
            target.close();
        }
    }
}
