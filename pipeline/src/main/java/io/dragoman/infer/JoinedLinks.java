package io.dragoman.infer;

import io.dragoman.infer.WordLinks.Link;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Links that both sides choose: target words by the largest weight of their row, source words by that of their column.
 *
 * <p>The rows are one model's; what they say read either way becomes one set as two models' links do. Jalili Sabet et al.,
 * "SimAlign", Findings of EMNLP 2020, section 2.2, take the intersection so; growing it is that of Koehn, Och, Marcu,
 * "Statistical Phrase-Based Translation", NAACL 2003, section 4.5 ("diag", without the final step).
 *
 * <p>Letters: W source words, V target words.
 */
final class JoinedLinks {
    /** {source, target}; the straight neighbours first. */
    private static final int[][] NEIGHBOURS = {
        {-1, 0}, {0, -1}, {1, 0}, {0, 1}, {-1, -1}, {-1, 1}, {1, -1}, {1, 1},
    };

    private final int targetWords; // V
    private final int sourceWords; // W
    /** What either side chose [V * W]; few words, so that plain cells are quicker than sets of bits. */
    private final boolean[] candidates;

    private final boolean[] links; // [V * W]
    private final boolean[] linkedTargets;
    private final boolean[] linkedSources;

    /** By target word, then source word. {@code sources} and {@code targets} are the words that have tokens, ascending. */
    static List<Link> of(float[][] weights, int[] sources, int[] targets, LinkChoice choice) {
        JoinedLinks joined = new JoinedLinks(weights, sources, targets, choice);
        if (choice.joined() == LinkChoice.Joined.GROW_DIAG) {
            joined.grow();
        }
        return joined.links();
    }

    private JoinedLinks(float[][] weights, int[] sources, int[] targets, LinkChoice choice) {
        targetWords = weights.length;
        sourceWords = sources[sources.length - 1] + 1;
        candidates = new boolean[targetWords * sourceWords];
        links = new boolean[candidates.length];
        linkedTargets = new boolean[targetWords];
        linkedSources = new boolean[sourceWords];
        for (int target : targets) {
            int best = WordLinks.heaviest(weights[target]);
            if (best != sourceWords && reaches(weights[target][best], choice.threshold())) {
                candidates[cell(best, target)] = true;
            }
        }
        for (int source : sources) {
            int best = targets[0];
            for (int target : targets) {
                best = weights[target][source] > weights[best][source] ? target : best;
            }
            if (reaches(weights[best][source], choice.sourceThreshold())) {
                if (candidates[cell(source, best)]) {
                    add(source, best);
                }
                candidates[cell(source, best)] = true;
            }
        }
    }

    private static boolean reaches(float weight, @Nullable Float threshold) {
        return threshold == null || weight >= threshold;
    }

    private int cell(int source, int target) {
        return target * sourceWords + source;
    }

    private void add(int source, int target) {
        links[cell(source, target)] = true;
        linkedTargets[target] = true;
        linkedSources[source] = true;
    }

    /** Adds candidates beside a link whose source or target word has none yet, until there is nothing to add. */
    private void grow() {
        boolean grown = true;
        while (grown) {
            grown = false;
            for (int target = 0; target < targetWords; target++) {
                for (int source = 0; linkedTargets[target] && source < sourceWords; source++) {
                    if (links[cell(source, target)]) { // one that is added further on is visited in the same round
                        grown |= addBeside(source, target);
                    }
                }
            }
        }
    }

    private boolean addBeside(int source, int target) {
        boolean added = false;
        for (int[] neighbour : NEIGHBOURS) {
            added |= addIfFree(source + neighbour[0], target + neighbour[1]);
        }
        return added;
    }

    private boolean addIfFree(int source, int target) {
        if (source < 0 || target < 0 || source >= sourceWords || target >= targetWords) {
            return false;
        }
        if (!candidates[cell(source, target)] || (linkedSources[source] && linkedTargets[target])) {
            return false;
        }
        add(source, target);
        return true;
    }

    private List<Link> links() {
        List<Link> found = new ArrayList<>();
        for (int target = 0; target < targetWords; target++) {
            for (int source = 0; linkedTargets[target] && source < sourceWords; source++) {
                if (links[cell(source, target)]) {
                    found.add(new Link(source, target));
                }
            }
        }
        return found;
    }
}
