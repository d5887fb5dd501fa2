package io.dragoman.publish;

import io.dragoman.infer.AlignmentMatrix;
import io.dragoman.infer.Hypothesis;
import io.dragoman.infer.LinkChoice;
import io.dragoman.infer.Outcome.Translated;
import io.dragoman.infer.WordLinks;
import io.dragoman.schema.Segment;
import io.dragoman.schema.Timings;
import io.dragoman.schema.Token;
import io.dragoman.schema.TokenSegment;
import io.dragoman.tokenize.Piece;
import io.dragoman.tokenize.Seams;
import io.dragoman.tokenize.Segmentation.Pieces;
import io.dragoman.tokenize.SubwordTokenizer;
import io.dragoman.tokenize.TokenSpan;
import io.dragoman.tokenize.TokenizedText;
import io.dragoman.tokenize.Words;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.function.ToLongFunction;

/**
 * The translations of a text's pieces as one translation of the text: spans index the whole texts, token positions the
 * tokens of all pieces one after the other, each piece with its end of sentence. Attention stays in blocks, a matrix for
 * each piece.
 */
final class Stitched {
    private final String source;
    private final Pieces pieces;
    private final List<Translated> results;
    private final List<TokenizedText> targets;
    private final List<String> seams;
    private final String translation;
    private final List<Segment> segments = new ArrayList<>();
    private final List<TokenSegment> tokenSegments = new ArrayList<>();

    /**
     * @param results one for each piece
     * @param tokenizer the target language's
     */
    Stitched(String source, Pieces pieces, List<Translated> results, SubwordTokenizer tokenizer, String language) {
        if (pieces.list().size() != results.size()) {
            throw new IllegalArgumentException(
                    "every piece should have a result: were " + pieces.list().size() + " and " + results.size());
        }
        this.source = source;
        this.pieces = pieces;
        this.results = List.copyOf(results);
        this.targets = results.stream()
                .map(result -> tokenizer.detokenize(result.best().ids()))
                .toList();
        this.seams = seams(source, pieces.list(), language);
        this.translation = join(targets);
        int target = 0;
        int sourceToken = 0;
        int targetToken = 0;
        for (int i = 0; i < targets.size(); i++) {
            Piece piece = pieces.list().get(i);
            target += seams.get(i).length();
            int end = target + targets.get(i).text().length();
            segments.add(new Segment(
                    piece.start(),
                    piece.end(),
                    target,
                    end,
                    io.dragoman.schema.Cut.valueOf(piece.cut().name())));
            target = end;
            int sourceEnd = sourceToken + piece.tokens().length();
            int targetEnd = targetToken + targets.get(i).length();
            tokenSegments.add(new TokenSegment(sourceToken, sourceEnd, targetToken, targetEnd));
            sourceToken = sourceEnd;
            targetToken = targetEnd;
        }
    }

    /** What stands before each translation. */
    private static List<String> seams(String source, List<Piece> pieces, String language) {
        if (pieces.size() == 1) {
            return List.of("");
        }
        Seams between = new Seams(language);
        List<String> seams = new ArrayList<>(List.of(""));
        for (int i = 1; i < pieces.size(); i++) {
            Piece before = pieces.get(i - 1);
            String gap = source.substring(before.end(), pieces.get(i).start());
            seams.add(between.between(gap, before.cut()));
        }
        return seams;
    }

    private String join(List<TokenizedText> texts) {
        StringBuilder joined = new StringBuilder();
        for (int i = 0; i < texts.size(); i++) {
            joined.append(seams.get(i)).append(texts.get(i).text());
        }
        return joined.toString();
    }

    String translation() {
        return translation;
    }

    List<Segment> segments() {
        return segments;
    }

    List<TokenSegment> tokenSegments() {
        return tokenSegments;
    }

    /** Mean log-probability of all tokens. */
    double score() {
        return score(0);
    }

    private double score(int rank) {
        double sum = 0;
        int tokens = 0;
        for (Translated result : results) {
            Hypothesis hypothesis = ranked(result, rank);
            sum += hypothesis.logProbability();
            tokens += hypothesis.length();
        }
        return tokens == 0 ? 0 : sum / tokens;
    }

    private static Hypothesis ranked(Translated result, int rank) {
        return result.hypotheses().get(Math.min(rank, result.hypotheses().size() - 1));
    }

    List<Float> logProbs() {
        List<Float> all = new ArrayList<>();
        for (Translated result : results) {
            for (float logProb : result.best().logProbs()) {
                all.add(logProb);
            }
        }
        return all;
    }

    /** The translations after the best: the n-th one of every piece, or its last. */
    List<io.dragoman.schema.Hypothesis> further(int count, SubwordTokenizer tokenizer) {
        int most = results.stream()
                .mapToInt(result -> result.hypotheses().size())
                .max()
                .orElse(0);
        List<io.dragoman.schema.Hypothesis> further = new ArrayList<>();
        for (int rank = 1; rank <= count && rank < most; rank++) {
            int wanted = rank;
            List<TokenizedText> texts = results.stream()
                    .map(result -> tokenizer.detokenize(ranked(result, wanted).ids()))
                    .toList();
            further.add(new io.dragoman.schema.Hypothesis(join(texts), score(rank)));
        }
        return further;
    }

    boolean truncated() {
        return results.stream().anyMatch(result -> result.best().truncated());
    }

    int sourceLength() {
        return tokenSegments.get(tokenSegments.size() - 1).getSourceEnd();
    }

    int targetLength() {
        return tokenSegments.get(tokenSegments.size() - 1).getTargetEnd();
    }

    /** A matrix for each piece; empty for architectures without attention. */
    Optional<List<AlignmentMatrix>> blocks() {
        List<AlignmentMatrix> blocks = new ArrayList<>();
        results.forEach(result -> result.best().attention().ifPresent(blocks::add));
        return blocks.size() == results.size() ? Optional.of(blocks) : Optional.empty();
    }

    /** Over the rows of all blocks. */
    static double normalizedEntropy(List<AlignmentMatrix> blocks) {
        double sum = 0;
        int rows = 0;
        for (AlignmentMatrix block : blocks) {
            sum += block.normalizedEntropy() * block.rows();
            rows += block.rows();
        }
        return rows == 0 ? 0 : sum / rows;
    }

    /** Waiting ends when the first piece's batch starts, inference when the last one's ends. */
    Timings timings() {
        long started = least(result -> result.queued().toNanos());
        long ended = -least(result -> -result.queued().plus(result.inference()).toNanos());
        int largest = results.stream().mapToInt(Translated::batchSize).max().orElse(0);
        return new Timings(started / 1000, (ended - started) / 1000, largest);
    }

    private long least(ToLongFunction<Translated> of) {
        return results.stream().mapToLong(of).min().orElse(0);
    }

    List<Token> sourceTokens() {
        List<Token> tokens = new ArrayList<>(sourceLength());
        pieces.list().forEach(piece -> addTokens(tokens, piece.tokens(), piece.start()));
        return tokens;
    }

    List<Token> targetTokens() {
        List<Token> tokens = new ArrayList<>(targetLength());
        for (int i = 0; i < targets.size(); i++) {
            addTokens(tokens, targets.get(i), segments.get(i).getTargetStart());
        }
        return tokens;
    }

    private static void addTokens(List<Token> tokens, TokenizedText text, int start) {
        for (int i = 0; i < text.length(); i++) {
            TokenSpan span = text.tokens().get(i);
            boolean end = text.ended() && i == text.length() - 1;
            tokens.add(new Token(span.piece(), start + span.start(), start + span.end(), end));
        }
    }

    List<WordLinks.Link> tokenLinks(List<AlignmentMatrix> blocks, LinkChoice choice) {
        List<WordLinks.Link> links = new ArrayList<>();
        for (int i = 0; i < blocks.size(); i++) {
            TokenSegment at = tokenSegments.get(i);
            List<WordLinks.Link> found =
                    WordLinks.overTokens(pieces.list().get(i).tokens(), targets.get(i), blocks.get(i), choice);
            if (i > 0) {
                found.replaceAll(link ->
                        new WordLinks.Link(link.source() + at.getSourceStart(), link.target() + at.getTargetStart()));
            }
            links.addAll(found);
        }
        return links;
    }

    /** A word that was cut is linked by each of its parts. */
    List<WordLinks.Link> wordLinks(List<AlignmentMatrix> blocks, LinkChoice choice) {
        Words sourceWords = Words.of(source);
        Words targetWords = Words.of(translation);
        List<WordLinks.Link> links = new ArrayList<>();
        for (int i = 0; i < blocks.size(); i++) {
            Segment at = segments.get(i);
            links.addAll(WordLinks.overWords(
                    new WordLinks.Part(pieces.list().get(i).tokens(), at.getSourceStart(), sourceWords),
                    new WordLinks.Part(targets.get(i), at.getTargetStart(), targetWords),
                    blocks.get(i),
                    choice));
        }
        if (blocks.size() > 1) {
            links = new ArrayList<>(links.stream().distinct().toList());
            links.sort(Comparator.comparingInt(WordLinks.Link::target).thenComparingInt(WordLinks.Link::source));
        }
        return links;
    }
}
