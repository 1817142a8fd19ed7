"""The reference topics of one test on Apache Kafka: how they are made and changed, who writes them, who follows them."""

from __future__ import annotations

import json

from confluent_kafka import Consumer as Reader
from confluent_kafka import Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from adapters.kafka.topics import create_or_verify
from adapters.metrics import PrometheusObserver
from adapters.reference import KafkaReference
from mappings.consent.resource import consent_from_fhir
from schemas.config import Config
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, TopicSpec
from tests.conditions import wait_until

SPECS = (PAIRINGS, PATIENTS, CONSENTS)
MURMUR2, CRC32 = "murmur2_random", "consistent_random"


def consent(patient: str) -> bytes:
    value = {"tenant_id": "north", "patient_id": patient, "status": "active", "permits": [{"purpose": "vitals"}]}
    return json.dumps(value).encode()


def pairing(device: str, patient: str) -> bytes:
    interval = {"patient_id": patient, "from": "2026-01-05T10:00:00Z"}
    return json.dumps({"tenant_id": "north", "device_id": device, "intervals": [interval]}).encode()


class ReferenceTopics:
    """Topics under one prefix."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap, self.prefix = bootstrap, prefix
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.following: list[tuple[KafkaReference, PrometheusObserver]] = []
        self.writers: dict[str, Producer] = {}

    def name(self, spec: TopicSpec) -> str:
        return spec.prefixed(self.prefix)

    def create(self, partitions: int, *specs: TopicSpec) -> None:
        create_or_verify(self.bootstrap, self.prefix, partitions, only=specs or SPECS)

    def create_with_producers_times(self, spec: TopicSpec) -> None:
        config = {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}
        self.done(self.admin.create_topics([NewTopic(self.name(spec), 2, 1, config=config)]))

    def date_by(self, spec: TopicSpec, kind: str) -> None:
        """Whose times its records have from now on: `LogAppendTime` or `CreateTime`."""
        entry = ConfigEntry("message.timestamp.type", kind, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.name(spec), incremental_configs=[entry])
        self.done(self.admin.incremental_alter_configs([resource]))

    def grow(self, spec: TopicSpec, partitions: int) -> None:
        self.done(self.admin.create_partitions([NewPartitions(self.name(spec), partitions)]))
        wait_until(lambda: len(self.described(spec).partitions) == partitions, what="the new partitions")

    def remove(self, spec: TopicSpec) -> None:
        self.done(self.admin.delete_topics([self.name(spec)]))

    def described(self, spec: TopicSpec):
        return next(iter(self.admin.describe_topics(TopicCollection([self.name(spec)])).values())).result(10)

    @staticmethod
    def done(asked: dict) -> None:
        for future in asked.values():
            future.result(30)

    def write(self, spec: TopicSpec, key: str, value: bytes | None, *, by: str = MURMUR2, at: int = -1) -> None:
        """Confirmed when it returns; its writer places it, or it goes to this partition."""
        if by not in self.writers:
            settings = {"bootstrap.servers": self.bootstrap, "partitioner": by, "linger.ms": 0}
            self.writers[by] = Producer(settings | {"topic.metadata.refresh.interval.ms": 200})
        refused: list[object] = []
        self.writers[by].produce(
            self.name(spec), value, f"north|{key}".encode(), at, on_delivery=lambda error, _: refused.append(error)
        )
        self.writers[by].flush(30)
        assert refused == [None]

    def places(self, spec: TopicSpec) -> dict[bytes, set[int]]:
        """Key → the partitions that hold a record of it."""
        found: dict[bytes, set[int]] = {}
        reader = Reader({"bootstrap.servers": self.bootstrap, "group.id": "nobody", "enable.partition.eof": True})
        partitions = range(len(self.described(spec).partitions))
        reader.assign([TopicPartition(self.name(spec), number, 0) for number in partitions])
        ended: set[int] = set()
        while len(ended) < len(partitions):
            for message in reader.consume(1000, 0.1):
                if message.error():
                    ended.add(message.partition())
                else:
                    found.setdefault(message.key(), set()).add(message.partition())
        reader.close()
        return found

    def follow(self) -> KafkaReference:
        observer = PrometheusObserver()
        reference = KafkaReference(
            self.bootstrap,
            consent_from_fhir=consent_from_fhir,
            understand=Config().understood,
            observer=observer,
            prefix=self.prefix,
        )
        self.following.append((reference, observer))
        reference.start()
        return reference

    def followed(self) -> KafkaReference:
        reference = self.follow()
        reference.wait_until_current(30)
        return reference

    def gauge(self, name: str, **labels: str) -> float | None:
        return self.following[-1][1].registry.get_sample_value(f"vitalwire_{name}", labels)

    def close(self) -> None:
        for reference, _ in self.following:
            reference.close()
