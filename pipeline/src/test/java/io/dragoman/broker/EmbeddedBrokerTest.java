package io.dragoman.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class EmbeddedBrokerTest {
    @Test
    void shouldBeOneOfTheNodesOfItsCluster() {
        for (int node : new int[] {0, 3}) {
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> new EmbeddedBroker.Place(node, List.of(9093, 9094)));
            assertEquals("the node should be 1 to 2, one for each controller: was " + node, e.getMessage());
        }
    }
}
