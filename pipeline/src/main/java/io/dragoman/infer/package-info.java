/**
 * The port to a model, its bundle, the ONNX Runtime adapter, and what is read off a decoded batch.
 */
@NullMarked
package io.dragoman.infer;

import org.jspecify.annotations.NullMarked;
