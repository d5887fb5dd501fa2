/**
 * A real Kafka broker inside this JVM, for the demo, for trying things out and for tests.
 */
@NullMarked
package io.dragoman.broker;

import org.jspecify.annotations.NullMarked;
