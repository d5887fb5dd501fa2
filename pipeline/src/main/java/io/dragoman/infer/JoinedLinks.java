package io.dragoman.infer;

import io.dragoman.infer.WordLinks.Link;
import java.util.ArrayList;
import java.util.Arrays;
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

    /** Where {@code candidates} is true, ascending once all are known; at most one for each word of either side. */
    private final int[] chosen;

    private int count; // of those in chosen
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
        chosen = new int[targets.length + sources.length];
        links = new boolean[candidates.length];
        linkedTargets = new boolean[targetWords];
        linkedSources = new boolean[sourceWords];
        for (int target : targets) {
            int best = WordLinks.heaviest(weights[target]);
            if (best != sourceWords && reaches(weights[target][best], choice.threshold())) {
                choose(cell(best, target));
            }
        }
        int[] heaviest = heaviestTargets(weights, targets);
        for (int source : sources) {
            int target = heaviest[source];
            if (reaches(weights[target][source], choice.sourceThreshold())) {
                if (candidates[cell(source, target)]) {
                    add(source, target);
                } else {
                    choose(cell(source, target));
                }
            }
        }
        Arrays.sort(chosen, 0, count);
    }

    /** The row with the largest weight of each column [W], the first on a tie; row by row, as they lie in memory. */
    private int[] heaviestTargets(float[][] weights, int[] targets) {
        int[] heaviest = new int[sourceWords];
        Arrays.fill(heaviest, targets[0]);
        float[] most = weights[targets[0]].clone();
        for (int target : targets) {
            float[] row = weights[target];
            for (int source = 0; source < sourceWords; source++) {
                if (row[source] > most[source]) {
                    most[source] = row[source];
                    heaviest[source] = target;
                }
            }
        }
        return heaviest;
    }

    private void choose(int cell) {
        candidates[cell] = true;
        chosen[count++] = cell;
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

    /**
     * Adds candidates beside a link whose source or target word has none yet, until there is nothing to add. A link is
     * looked at once: words that have one keep it, so what could not be added beside it never can.
     */
    private void grow() {
        boolean[] lookedAt = new boolean[count];
        boolean grown = true;
        while (grown) {
            grown = false;
            for (int i = 0; i < count; i++) {
                if (links[chosen[i]] && !lookedAt[i]) { // one that is added further on has its turn in the same round
                    lookedAt[i] = true;
                    grown |= addBeside(chosen[i] % sourceWords, chosen[i] / sourceWords);
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
        for (int i = 0; i < count; i++) {
            if (links[chosen[i]]) {
                found.add(new Link(chosen[i] % sourceWords, chosen[i] / sourceWords));
            }
        }
        return found;
    }
}
