"""Creates missing topics, and reports how existing ones differ from their specification, with a remedy.

Existing topics are never changed: shorter retention or more partitions would destroy data or order, so operators decide.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from schemas.errors import Misconfigured, RetryLater
from schemas.topics import ALL, LATE_READINGS, PROGRESS, QUARANTINE, READINGS, TopicSpec

TIMEOUT_S = 30.0
CO_PARTITIONED = frozenset({READINGS.name, LATE_READINGS.name, QUARANTINE.name, PROGRESS.name})
"""Topics in which a device's records must have the same partition number as its readings."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """The state of one topic. `unverified` settings are those that the broker does not report."""

    name: str
    state: Literal["created", "correct", "differs"]
    partitions: int
    differences: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()


def create_or_verify(
    bootstrap_servers: str,
    prefix: str = "",
    partitions: int = 4,
    replication_factor: int = 1,
    only: Sequence[TopicSpec] | None = None,
) -> list[TopicState]:
    """Create missing topics; returns the state of every topic (or of `only`). RetryLater if no broker responds."""
    specs = list(ALL if only is None else only)
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        before = _partition_counts(admin)
        shared = before.get(READINGS.prefixed(prefix), partitions)
        wanted = {
            s.prefixed(prefix): _Wanted(s, _count(s, partitions, shared), _settings(s, replication_factor))
            for s in specs
        }
        created = _create(admin, {n: w for n, w in wanted.items() if n not in before}, replication_factor)
        counts = _visible(admin, wanted)
        reported = _reported_settings(admin, list(wanted))
    except KafkaException as error:
        raise _explained(error, bootstrap_servers) from error
    return [
        _state(name, want, counts[name], reported[name], bootstrap_servers, created=name in created)
        for name, want in wanted.items()
    ]


@dataclass(frozen=True, slots=True)
class _Wanted:
    spec: TopicSpec
    partitions: int
    settings: Mapping[str, str]


def _count(spec: TopicSpec, default: int, shared: int) -> int:
    if spec.name in CO_PARTITIONED:
        return shared
    return spec.partitions or default


def _settings(spec: TopicSpec, replication_factor: int) -> dict[str, str]:
    durable = {"min.insync.replicas": "2"} if replication_factor >= 3 else {}
    return spec.settings | durable


def _partition_counts(admin: AdminClient) -> dict[str, int]:
    topics = admin.list_topics(timeout=TIMEOUT_S).topics
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}


def _create(admin: AdminClient, missing: Mapping[str, _Wanted], replication_factor: int) -> set[str]:
    if not missing:
        return set()
    futures = admin.create_topics(
        [
            NewTopic(name, want.partitions, replication_factor, config=dict(want.settings))
            for name, want in missing.items()
        ],
        operation_timeout=TIMEOUT_S,
    )
    created = set()
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # created concurrently by another worker
                raise
        else:
            created.add(name)
    return created


def _visible(admin: AdminClient, wanted: Mapping[str, _Wanted]) -> dict[str, int]:
    """Partition counts, once the broker's metadata contains every topic: creation is confirmed before it is visible."""
    deadline = time.monotonic() + TIMEOUT_S
    while not wanted.keys() <= (counts := _partition_counts(admin)).keys():
        if time.monotonic() > deadline:
            raise RetryLater("The broker confirmed the new topics, but its metadata does not contain them yet.")
        time.sleep(0.05)
    return counts


def _reported_settings(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str | None]]:
    futures = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    reported: dict[str, dict[str, str | None]] = {}
    for resource, future in futures.items():
        entries: Mapping[str, Any] = future.result(TIMEOUT_S)
        reported[resource.name] = {key: entry.value for key, entry in entries.items()}
    return reported


def _state(
    name: str,
    want: _Wanted,
    partitions: int,
    reported: Mapping[str, str | None],
    bootstrap_servers: str,
    *,
    created: bool,
) -> TopicState:
    differences, remedies = [], []
    wrong = {k: v for k, v in want.settings.items() if k in reported and not _same(reported[k], v)}
    if wrong:
        differences += [f"{key} is {reported[key]}, should be {value}" for key, value in wrong.items()]
        listed = ",".join(f"{key}=[{value}]" if "," in value else f"{key}={value}" for key, value in wrong.items())
        remedies.append(
            f"kafka-configs.sh --bootstrap-server {bootstrap_servers} --alter --entity-type topics "
            f"--entity-name {name} --add-config '{listed}'"
        )
    if want.spec.name in CO_PARTITIONED and partitions != want.partitions:
        differences.append(f"{partitions} partitions, but {READINGS.name} has {want.partitions}")
        remedies.append(
            f"stop the workers, then kafka-topics.sh --bootstrap-server {bootstrap_servers} --delete --topic {name}, "
            "then vitalwire topics"
        )
    state: Literal["created", "correct", "differs"] = "differs" if differences else "created" if created else "correct"
    unverified = tuple(key for key in want.settings if key not in reported)
    return TopicState(name, state, partitions, tuple(differences), tuple(remedies), unverified)


def _same(reported: str | None, wanted: str) -> bool:
    return reported is not None and set(reported.split(",")) == set(wanted.split(","))


def _explained(error: KafkaException, bootstrap_servers: str) -> Misconfigured | RetryLater:
    problem: KafkaError = error.args[0]
    if problem.retriable() or problem.code() in {
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
    }:
        return RetryLater(f"No Kafka broker responds at {bootstrap_servers}.")
    return Misconfigured(
        f"The broker at {bootstrap_servers} denied the request: {problem.str()}. Correct this, then: vitalwire topics"
    )
