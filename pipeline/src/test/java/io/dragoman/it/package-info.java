/** Tests against a real broker, the committed bundle and real processes. */
package io.dragoman.it;
