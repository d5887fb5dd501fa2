package io.dragoman.config;

import java.util.List;

/** The topics below one prefix. */
public record TopicNames(String prefix) {
    public String sentences() {
        return prefix + ".sentences";
    }

    public String translations() {
        return prefix + ".translations";
    }

    public String alignments() {
        return prefix + ".alignments";
    }

    public String rejections() {
        return prefix + ".rejections";
    }

    public List<String> all() {
        return List.of(sentences(), translations(), alignments(), rejections());
    }
}
