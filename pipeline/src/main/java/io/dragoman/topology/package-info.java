/**
 * The wiring: the one page that shows the flow, its processor, and the life of a running pipeline.
 */
@NullMarked
package io.dragoman.topology;

import org.jspecify.annotations.NullMarked;
