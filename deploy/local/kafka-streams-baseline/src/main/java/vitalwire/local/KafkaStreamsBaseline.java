package vitalwire.local;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * What the telemetry role is measured beside: Kafka Streams over the same topic, one-minute event-time windows a device
 * (sum, count, lowest, highest) in RocksDB, final results only, at least once. It neither pairs nor drops repeats, and it
 * keeps one window a device where the telemetry role keeps one a vital: all of that favours it.
 *
 * <p>Arguments: bootstrap servers, topic, readings to take, threads, directory for state, file for the result.
 */
public final class KafkaStreamsBaseline {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final OperatingSystemMXBean SYSTEM =
      (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

  private final long wanted;
  private final Path result;
  private final AtomicLong taken = new AtomicLong();
  private final AtomicLong beganNs = new AtomicLong();
  private volatile long cpuBeganNs;

  private KafkaStreamsBaseline(long wanted, Path result) {
    this.wanted = wanted;
    this.result = result;
  }

  public static void main(String[] arguments) throws Exception {
    var baseline = new KafkaStreamsBaseline(Long.parseLong(arguments[2]), Path.of(arguments[5]));
    var settings = settings(arguments[0], Integer.parseInt(arguments[3]), arguments[4]);
    new KafkaStreams(baseline.topology(arguments[1]).build(), settings).start();
    Thread.currentThread().join();
  }

  private static Properties settings(String bootstrap, int threads, String stateDirectory) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "baseline-" + System.currentTimeMillis());
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, stateDirectory);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 50L << 20);
    settings.put("auto.offset.reset", "earliest");
    settings.put("max.poll.records", 10_000);
    return settings;
  }

  private StreamsBuilder topology(String topic) {
    var builder = new StreamsBuilder();
    // the broker stamps arrival, so the time of measurement is read from the reading, which is parsed only once
    var readings =
        Consumed.with(Serdes.String(), reading())
            .withTimestampExtractor((record, before) -> ((JsonNode) record.value()).get("time").asLong());
    builder.stream(topic, readings)
        .mapValues(this::value)
        .groupByKey(Grouped.with(Serdes.String(), Serdes.Double()))
        .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofSeconds(10)))
        .aggregate(
            () -> new byte[32],
            (device, value, held) -> add(held, value),
            Materialized.<String, byte[], WindowStore<Bytes, byte[]>>as("windows")
                .withKeySerde(Serdes.String())
                .withValueSerde(Serdes.ByteArray()))
        .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
        .toStream()
        .foreach((window, held) -> {});
    return builder;
  }

  private double value(JsonNode reading) {
    if (beganNs.compareAndSet(0, System.nanoTime())) {
      cpuBeganNs = SYSTEM.getProcessCpuTime();
    }
    if (taken.incrementAndGet() == wanted) {
      report((System.nanoTime() - beganNs.get()) / 1e9, (SYSTEM.getProcessCpuTime() - cpuBeganNs) / 1e9);
    }
    return reading.get("value").asDouble();
  }

  private void report(double seconds, double cpuSeconds) {
    Path unfinished = result.resolveSibling(result.getFileName() + ".part");
    try {
      Files.writeString(
          unfinished,
          String.format(
              Locale.ROOT,
              "{\"readings\": %d, \"seconds\": %.6f, \"cpu_seconds\": %.6f}",
              wanted,
              seconds,
              cpuSeconds));
      Files.move(unfinished, result, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException failure) {
      throw new java.io.UncheckedIOException(failure);
    }
  }

  private static Serde<JsonNode> reading() {
    Deserializer<JsonNode> parse =
        (topic, value) -> {
          try {
            return JSON.readTree(value);
          } catch (IOException unreadable) {
            throw new SerializationException(unreadable);
          }
        };
    return Serdes.serdeFrom((topic, reading) -> null, parse);
  }

  private static byte[] add(byte[] held, double value) {
    ByteBuffer was = ByteBuffer.wrap(held);
    ByteBuffer now = ByteBuffer.allocate(32);
    long count = was.getLong(8) + 1;
    now.putDouble(0, was.getDouble(0) + value).putLong(8, count);
    now.putDouble(16, count == 1 ? value : Math.min(was.getDouble(16), value));
    now.putDouble(24, count == 1 ? value : Math.max(was.getDouble(24), value));
    return now.array();
  }
}
