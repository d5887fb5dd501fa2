/**
 * What an instance measures of itself, and the page where others read it. The rooms report through {@link
 * io.dragoman.metrics.Meters}; {@link io.dragoman.metrics.Metric} is the list.
 */
@NullMarked
package io.dragoman.metrics;

import org.jspecify.annotations.NullMarked;
