/**
 * A record of the input topic turned into a checked text, or the reason why not.
 */
@NullMarked
package io.dragoman.ingest;

import org.jspecify.annotations.NullMarked;
