package io.dragoman.command;

import io.dragoman.publish.OutputRecords;
import io.dragoman.schema.Alignment;
import io.dragoman.schema.Rejection;
import io.dragoman.schema.Translation;
import org.jspecify.annotations.Nullable;

/** What came back for one line: a translation with its alignment (if its model has attention, and it was read), or a rejection. */
record Reply(@Nullable Translation translation, @Nullable Alignment alignment, @Nullable Rejection rejection) {
    /** Whether nothing more will come for a translation. One without attention gets no alignment, and says so. */
    static boolean isWhole(Translation translation, boolean aligned) {
        return aligned || !translation.getQualitySignals().containsKey(OutputRecords.ATTENTION_ENTROPY);
    }
}
