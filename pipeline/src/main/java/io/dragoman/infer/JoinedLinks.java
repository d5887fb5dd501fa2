package io.dragoman.infer;

import io.dragoman.infer.WordLinks.Link;
import java.util.ArrayList;
import java.util.BitSet;
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

    /** What either side chose, by target [V] and source [W]. */
    private final BitSet[] candidates;

    private final BitSet[] links;
    private final BitSet linkedSources = new BitSet();

    /** By target word, then source word. {@code sources} and {@code targets} are the words that have tokens, ascending. */
    static List<Link> of(float[][] weights, int[] sources, int[] targets, LinkChoice choice) {
        JoinedLinks joined = new JoinedLinks(weights, sources, targets, choice);
        if (choice.joined() == LinkChoice.Joined.GROW_DIAG) {
            joined.grow();
        }
        return joined.links();
    }

    private JoinedLinks(float[][] weights, int[] sources, int[] targets, LinkChoice choice) {
        int words = sources[sources.length - 1] + 1;
        candidates = sets(weights.length);
        links = sets(weights.length);
        for (int target : targets) {
            int best = WordLinks.heaviest(weights[target]);
            if (best != words && reaches(weights[target][best], choice.threshold())) {
                candidates[target].set(best);
            }
        }
        for (int source : sources) {
            int best = targets[0];
            for (int target : targets) {
                best = weights[target][source] > weights[best][source] ? target : best;
            }
            if (reaches(weights[best][source], choice.sourceThreshold())) {
                if (candidates[best].get(source)) {
                    add(source, best);
                }
                candidates[best].set(source);
            }
        }
    }

    private static BitSet[] sets(int count) {
        BitSet[] sets = new BitSet[count];
        for (int i = 0; i < count; i++) {
            sets[i] = new BitSet();
        }
        return sets;
    }

    private static boolean reaches(float weight, @Nullable Float threshold) {
        return threshold == null || weight >= threshold;
    }

    private void add(int source, int target) {
        links[target].set(source);
        linkedSources.set(source);
    }

    /** Adds candidates beside a link whose source or target word has none yet, until there is nothing to add. */
    private void grow() {
        boolean grown = true;
        while (grown) {
            grown = false;
            for (int target = 0; target < candidates.length; target++) {
                // a link that is added further on is visited in the same round
                for (int source = links[target].nextSetBit(0);
                        source >= 0;
                        source = links[target].nextSetBit(source + 1)) {
                    for (int[] neighbour : NEIGHBOURS) {
                        grown |= addIfFree(source + neighbour[0], target + neighbour[1]);
                    }
                }
            }
        }
    }

    private boolean addIfFree(int source, int target) {
        if (source < 0 || target < 0 || target >= candidates.length || !candidates[target].get(source)) {
            return false;
        }
        if (linkedSources.get(source) && !links[target].isEmpty()) {
            return false;
        }
        add(source, target);
        return true;
    }

    private List<Link> links() {
        List<Link> found = new ArrayList<>();
        for (int target = 0; target < links.length; target++) {
            for (int source = links[target].nextSetBit(0); source >= 0; source = links[target].nextSetBit(source + 1)) {
                found.add(new Link(source, target));
            }
        }
        return found;
    }
}
