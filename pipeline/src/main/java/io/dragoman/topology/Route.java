package io.dragoman.topology;

import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.TranslationService;
import io.dragoman.tokenize.TokenizerPair;

/** What a language pair is translated with. The pipeline owns both. */
record Route(TokenizerPair tokenizers, TranslationService service) {
    BundleManifest manifest() {
        return service.model().manifest();
    }
}
