/**
 * Outcomes turned into the Avro records of the output topics.
 */
@NullMarked
package io.dragoman.publish;

import org.jspecify.annotations.NullMarked;
