package io.dragoman.tokenize;

import java.util.List;

/** What is to be done with a text. */
public sealed interface Segmentation {
    /** How much of the text the pieces are. */
    enum Extent {
        /** One piece, the text as it stands. */
        WHOLE,
        /** Several pieces that leave out nothing but white space and invisible characters. */
        SPLIT,
        /** One piece, the beginning. */
        TRUNCATED
    }

    /** @param list in the order of the text, at least one, without overlap, each with a visible character */
    record Pieces(Extent extent, List<Piece> list) implements Segmentation {
        public Pieces {
            list = List.copyOf(list);
            if (list.isEmpty() || list.size() > 1 != (extent == Extent.SPLIT)) {
                throw new IllegalArgumentException("should be " + extent + ": were " + list.size() + " pieces");
            }
        }

        /** A text that is a piece by itself. */
        public static Pieces whole(TokenizedText text) {
            return new Pieces(Extent.WHOLE, List.of(new Piece(0, text.text().length(), Cut.TEXT, text)));
        }
    }

    /** @param explanation for a person; never holds the text */
    record TooLong(String explanation) implements Segmentation {}

    /** Nothing that can be seen is in the text. */
    record Nothing() implements Segmentation {}
}
