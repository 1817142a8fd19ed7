"""Kafka: producing, topics, offsets, reading from the start, and the watchdog of stalled consumers."""
