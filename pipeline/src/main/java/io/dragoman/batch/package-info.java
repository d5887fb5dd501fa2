/**
 * When a batch is full and what goes into it. Pure: no threads, the time is an argument.
 */
@NullMarked
package io.dragoman.batch;

import org.jspecify.annotations.NullMarked;
