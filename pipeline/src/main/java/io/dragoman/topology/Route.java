package io.dragoman.topology;

import io.dragoman.infer.BundleManifest;
import io.dragoman.infer.TranslationService;
import io.dragoman.tokenize.SubwordTokenizer;

/** What a language pair is translated with. The pipeline owns both. */
record Route(SubwordTokenizer tokenizer, TranslationService service) {
    BundleManifest manifest() {
        return service.model().manifest();
    }
}
