/**
 * What a person types.
 */
@NullMarked
package io.dragoman.command;

import org.jspecify.annotations.NullMarked;
