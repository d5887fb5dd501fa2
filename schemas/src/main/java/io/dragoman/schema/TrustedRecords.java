package io.dragoman.schema;

import java.util.Map;
import java.util.Set;
import org.apache.avro.specific.SpecificRecord;
import org.apache.avro.util.ClassSecurityValidator;

/**
 * What Avro may believe of a stranger's bytes.
 *
 * <p>It makes only classes it was told to trust, so that a schema cannot name any class of the application: this adds the
 * generated records of this package, and nothing else. And it sets aside as much memory as a length in the bytes claims,
 * before it looks whether the bytes are there, so that twenty bytes could end the JVM: this bounds what may be claimed.
 * Both hold for the whole JVM, Avro has no other place for them.
 */
public final class TrustedRecords {
    private static final Set<Class<?>> OWN = Set.of(
            Alignment.class,
            Cut.class,
            Extent.class,
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
            TokenSegment.class,
            Translation.class,
            WeightEncoding.class);

    /** Avro reads these once, with the first record it decodes. */
    private static final Map<String, String> LIMITS = Map.of(
            "org.apache.avro.limits.string.maxLength", String.valueOf(16 << 20),
            "org.apache.avro.limits.bytes.maxLength", String.valueOf(64 << 20),
            "org.apache.avro.limits.collectionItems.maxLength", String.valueOf(1 << 20));

    static {
        LIMITS.forEach((name, value) -> {
            if (System.getProperty(name) == null) {
                System.setProperty(name, value);
            }
        });
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
