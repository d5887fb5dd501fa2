/**
 * Every setting, in one definition, and the small records that hand them to the rooms.
 */
@NullMarked
package io.dragoman.config;

import org.jspecify.annotations.NullMarked;
