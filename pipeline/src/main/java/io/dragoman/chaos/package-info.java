/**
 * Faults on purpose: real processes on the loopback interface are killed, stopped and restarted under load, and a reader
 * counts what comes out.
 */
@NullMarked
package io.dragoman.chaos;

import org.jspecify.annotations.NullMarked;
