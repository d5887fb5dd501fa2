/**
 * Text to subword ids with character spans, and ids back to text with spans.
 */
@NullMarked
package io.dragoman.tokenize;

import org.jspecify.annotations.NullMarked;
