/**
 * Avro values that name their schema by an id of a schema registry: Confluent's wire format.
 */
@NullMarked
package io.dragoman.wire;

import org.jspecify.annotations.NullMarked;
