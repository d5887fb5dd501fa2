package io.dragoman.schema;

import java.util.Set;
import org.apache.avro.specific.SpecificRecord;
import org.apache.avro.util.ClassSecurityValidator;

/**
 * Avro makes only classes it was told to trust, so that a schema from a stranger cannot name any class of the
 * application. This adds the generated records of this package to what it trusts, and nothing else.
 */
public final class TrustedRecords {
    private static final Set<Class<?>> OWN = Set.of(
            Alignment.class,
            Header.class,
            Hypothesis.class,
            Link.class,
            Model.class,
            Origin.class,
            Rejection.class,
            RejectionReason.class,
            Segment.class,
            SourceText.class,
            Stage.class,
            Timings.class,
            Token.class,
            Translation.class,
            WeightEncoding.class);

    static {
        ClassSecurityValidator.ClassSecurityPredicate before = ClassSecurityValidator.getGlobal();
        ClassSecurityValidator.setGlobal(ClassSecurityValidator.composite(before, type -> OWN.contains(type)));
    }

    private TrustedRecords() {}

    /** Must be called before the first record is decoded; calling it again changes nothing. */
    public static void register() {
        // The static initializer did it.
    }

    /** The records of the topics, for tools that list the contracts. */
    public static Set<Class<? extends SpecificRecord>> contracts() {
        return Set.of(SourceText.class, Translation.class, Alignment.class, Rejection.class);
    }
}
