package io.dragoman.topology;

import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.TranslationService;
import io.dragoman.tokenize.Segmenter;
import io.dragoman.tokenize.TokenizerPair;

/**
 * What a language pair is translated with. The pipeline owns all of it.
 *
 * @param segmenter cuts the source language's texts with its tokenizer
 */
record Route(TokenizerPair tokenizers, Segmenter segmenter, TranslationService service) {
    BundleManifest manifest() {
        return service.model().manifest();
    }
}
