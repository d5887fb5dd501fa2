package io.dragoman.topology;

import io.dragoman.config.DragomanConfig;
import io.dragoman.config.TopicNames;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The topics of a deployment: which are missing, and making them. */
public final class Topics {
    private static final int PATIENCE_SECONDS = 20;

    private Topics() {}

    /** The cluster cannot be reached, or refused; the message says what to do. */
    public static final class ClusterException extends Exception {
        private static final long serialVersionUID = 1;

        public ClusterException(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** Makes the topics that are missing and returns their names. */
    public static List<String> create(DragomanConfig config) throws ClusterException {
        TopicNames names = config.topics();
        List<NewTopic> wanted = new ArrayList<>();
        for (String name : missing(config)) {
            short replication = config.topicReplication();
            NewTopic topic = new NewTopic(
                    name,
                    Optional.of(config.integer(DragomanConfig.TOPIC_PARTITIONS)),
                    replication < 0 ? Optional.empty() : Optional.of(replication));
            if (name.equals(names.alignments())) { // large and quickly stale
                topic.configs(Map.of(TopicConfig.RETENTION_MS_CONFIG, String.valueOf(TimeUnit.DAYS.toMillis(3))));
            }
            wanted.add(topic);
        }
        call(config, admin -> {
            for (Map.Entry<String, org.apache.kafka.common.KafkaFuture<Void>> made :
                    admin.createTopics(wanted).values().entrySet()) {
                try {
                    made.getValue().get(PATIENCE_SECONDS, TimeUnit.SECONDS);
                } catch (ExecutionException e) {
                    if (!(e.getCause() instanceof TopicExistsException)) { // somebody else was quicker
                        throw e;
                    }
                }
            }
            awaitLeaders(admin, wanted, config.integer(DragomanConfig.TOPIC_PARTITIONS));
            return wanted;
        });
        return wanted.stream().map(NewTopic::name).toList();
    }

    /**
     * Waits until every partition answers. A producer that pipelines its first batches to a partition whose leader is not
     * up yet may see the first refused and the second taken; its retries are then out of sequence until they time out.
     */
    private static void awaitLeaders(Admin admin, List<NewTopic> topics, int partitions)
            throws ExecutionException, InterruptedException, TimeoutException {
        Map<TopicPartition, OffsetSpec> ends = new HashMap<>();
        for (NewTopic topic : topics) {
            for (int partition = 0; partition < partitions; partition++) {
                ends.put(new TopicPartition(topic.name(), partition), OffsetSpec.latest());
            }
        }
        long patience = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (true) {
            try {
                admin.listOffsets(ends).all().get(PATIENCE_SECONDS, TimeUnit.SECONDS);
                return;
            } catch (ExecutionException e) {
                boolean unheardOf = e.getCause() instanceof UnknownTopicOrPartitionException;
                if (!unheardOf || System.nanoTime() > patience) {
                    throw e;
                }
                Thread.sleep(50); // the broker that was asked has not heard of a topic that was just made
            }
        }
    }

    /** Which of the deployment's topics the cluster does not have. */
    public static List<String> missing(DragomanConfig config) throws ClusterException {
        return call(config, admin -> {
            List<String> names = new ArrayList<>(config.topics().all());
            names.removeAll(admin.listTopics().names().get(PATIENCE_SECONDS, TimeUnit.SECONDS));
            return names;
        });
    }

    private interface Call<T> {
        T on(Admin admin) throws ExecutionException, InterruptedException, TimeoutException;
    }

    private static <T> T call(DragomanConfig config, Call<T> call) throws ClusterException {
        List<String> servers = config.list(DragomanConfig.BOOTSTRAP_SERVERS);
        Map<String, Object> settings = new HashMap<>(config.kafka());
        settings.keySet().removeIf(name -> !AdminClientConfig.configNames().contains(name));
        settings.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, servers);
        settings.putIfAbsent(AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, "15000");
        settings.putIfAbsent(AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, "5000");
        settings.putIfAbsent(AdminClientConfig.ENABLE_METRICS_PUSH_CONFIG, "false");
        try (Admin admin = Admin.create(settings)) {
            return call.on(admin);
        } catch (ExecutionException | TimeoutException | org.apache.kafka.common.KafkaException e) {
            Throwable cause = e.getCause() != null ? e.getCause() : e;
            throw new ClusterException(
                    "the Kafka cluster at " + String.join(",", servers) + " does not answer as it should: "
                            + cause.getMessage() + "; check bootstrap.servers and that the broker runs",
                    e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ClusterException("interrupted while waiting for the Kafka cluster", e);
        }
    }
}
