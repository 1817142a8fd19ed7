"""Reference data on Apache Kafka when topics grow, are made anew, or have writers that place keys differently."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer as Reader
from confluent_kafka import Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from adapters.brokers import Broker
from adapters.metrics import PrometheusObserver
from adapters.reference import KafkaReference
from adapters.topics import create_or_verify
from mappings.consent import consent_from_fhir
from schemas.errors import RetryLater
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, TopicSpec
from tests.conditions import wait_until

SPECS = (PAIRINGS, PATIENTS, CONSENTS)
PATIENTS_CONSENTING = [f"p-{number}" for number in range(20)]
MURMUR2, CRC32 = "murmur2_random", "consistent_random"


def consent(patient: str) -> bytes:
    value = {"tenant_id": "north", "patient_id": patient, "status": "active", "permits": [{"purpose": "vitals"}]}
    return json.dumps(value).encode()


def pairing(device: str, patient: str) -> bytes:
    interval = {"patient_id": patient, "from": "2026-01-05T10:00:00Z"}
    return json.dumps({"tenant_id": "north", "device_id": device, "intervals": [interval]}).encode()


class Ward:
    """The reference topics of one test: how they are made and changed, who writes them, who follows them."""

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

    def date(self, spec: TopicSpec) -> None:
        entry = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
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
            self.bootstrap, consent_from_fhir=consent_from_fhir, observer=observer, prefix=self.prefix
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


@pytest.fixture
def ward(broker: Broker, topic_prefix: str) -> Iterator[Ward]:
    made = Ward(broker.bootstrap_servers, topic_prefix)
    yield made
    made.close()


def active(reference: KafkaReference) -> list[str]:
    return [patient for patient in PATIENTS_CONSENTING if reference.consent("north", patient)]


def test_revocations_in_partitions_that_a_topic_got_later_are_all_obeyed(ward: Ward):
    ward.create(1)
    for patient in PATIENTS_CONSENTING:
        ward.write(CONSENTS, patient, consent(patient))
    reference = ward.followed()
    assert active(reference) == PATIENTS_CONSENTING

    ward.grow(CONSENTS, 4)
    wait_until(lambda: not reference.is_current(), what="the growth noticed")
    for patient in PATIENTS_CONSENTING:
        ward.write(CONSENTS, patient, None, by=CRC32)
    assert set().union(*ward.places(CONSENTS).values()) == {0, 1, 2, 3}

    wait_until(lambda: reference.is_current() and not active(reference), what="every revocation obeyed")
    assert active(ward.followed()) == []
    assert ward.gauge("reference_split_keys", topic=CONSENTS.name) > 0


def test_revocations_written_at_once_after_a_topic_grew_are_obeyed_as_soon_as_the_data_is_current_again(ward: Ward):
    ward.create(1)
    for patient in PATIENTS_CONSENTING:
        ward.write(CONSENTS, patient, consent(patient))
    reference = ward.followed()

    ward.grow(CONSENTS, 4)
    for patient in PATIENTS_CONSENTING:
        ward.write(CONSENTS, patient, None, by=CRC32)

    wait_until(lambda: not reference.is_current() or not active(reference), what="the growth noticed")
    wait_until(reference.is_current, what="all of it read")
    assert active(reference) == []


def test_of_writers_that_place_a_key_differently_the_last_one_is_right(ward: Ward):
    ward.create(4)
    names = [f"x-{number}" for number in range(12)]
    for name in names:
        ward.write(CONSENTS, name, consent(name), by=MURMUR2)
        ward.write(PAIRINGS, name, pairing(name, "p-before"), by=CRC32)
    for name in names:
        ward.write(CONSENTS, name, None, by=CRC32)
        ward.write(PAIRINGS, name, pairing(name, "p-after"), by=MURMUR2)
    assert any(len(places) == 2 for places in ward.places(CONSENTS).values())
    assert any(len(places) == 2 for places in ward.places(PAIRINGS).values())

    reference = ward.followed()

    assert [name for name in names if reference.consent("north", name)] == []
    assert {reference.pairing("north", name).intervals[0].patient_id for name in names} == {"p-after"}
    for name in names:
        ward.write(CONSENTS, name, consent(name), by=MURMUR2)
    wait_until(lambda: all(reference.consent("north", name) for name in names), what="the consents given again")


def test_an_older_value_read_later_does_not_revive_a_removed_key(ward: Ward):
    """The partition read first holds the tombstone; the other one still holds what was revoked."""
    ward.create(2)
    for patient in PATIENTS_CONSENTING:
        ward.write(CONSENTS, patient, consent(patient), at=1)
    wait_until(lambda: len(ward.places(CONSENTS)) == len(PATIENTS_CONSENTING))
    for patient in PATIENTS_CONSENTING:
        ward.write(CONSENTS, patient, None, at=0)

    for _ in range(3):
        assert active(ward.followed()) == []


def test_a_consent_that_a_topic_made_anew_does_not_hold_vanishes(ward: Ward):
    ward.create(2)
    for patient in ("p-1", "p-2"):
        ward.write(CONSENTS, patient, consent(patient))
    reference = ward.followed()
    version = reference.version()

    ward.remove(CONSENTS)
    wait_until(lambda: not reference.is_current(), what="the topic missed")
    wait_until(lambda: made_anew(ward, CONSENTS, 2), what="the topic made anew")
    ward.write(CONSENTS, "p-2", consent("p-2"))
    reference.wait_until_current(30)

    wait_until(lambda: reference.consent("north", "p-2"), what="what is in the new topic")
    assert reference.consent("north", "p-1") is None
    assert reference.version() > version


def test_a_topic_made_anew_between_two_looks_is_known_by_its_id(ward: Ward):
    """The new one has as many partitions and records as the old one had, so that only its id tells."""
    ward.create(1)
    ward.write(CONSENTS, "p-1", consent("p-1"))
    reference = ward.followed()

    ward.remove(CONSENTS)
    wait_until(lambda: made_anew(ward, CONSENTS, 1), what="the topic made anew")
    ward.write(CONSENTS, "p-2", consent("p-2"))

    wait_until(
        lambda: reference.consent("north", "p-1") is None and reference.is_current(), what="the old one forgotten"
    )
    wait_until(lambda: reference.consent("north", "p-2"), what="the new one read")


def made_anew(ward: Ward, spec: TopicSpec, partitions: int) -> bool:
    try:
        ward.create(partitions, spec)
        return len(ward.described(spec).partitions) == partitions
    except Exception:  # it is still being deleted
        return False


def test_topics_that_keep_their_producers_times_are_not_trusted_until_they_are_corrected(
    ward: Ward, caplog: pytest.LogCaptureFixture
):
    ward.create(2, PAIRINGS, PATIENTS)
    ward.create_with_producers_times(CONSENTS)
    ward.write(CONSENTS, "p-1", consent("p-1"), at=0)
    ward.write(CONSENTS, "p-2", consent("p-2"), at=0)
    ward.write(CONSENTS, "p-2", None, at=1)

    reference = ward.follow()
    wait_until(lambda: "LogAppendTime" in caplog.text, what="the reason in the log")
    with pytest.raises(RetryLater):
        reference.wait_until_current(1.0)
    assert reference.consent("north", "p-1") is None

    ward.date(CONSENTS)
    reference.wait_until_current(30)
    assert reference.consent("north", "p-1")
    assert reference.consent("north", "p-2") is None
    wait_until(lambda: ward.gauge("reference_closed_keys", topic=CONSENTS.name, cause="in_doubt") == 1)
    ward.write(CONSENTS, "p-2", None, at=1)
    ward.write(CONSENTS, "p-2", consent("p-2"), at=0)
    wait_until(lambda: reference.consent("north", "p-2"), what="the key that was written again in both")


def test_a_topic_whose_times_are_taken_from_its_producers_later_stops_being_trusted(ward: Ward):
    ward.create(1)
    reference = ward.followed()

    entry = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, ward.name(CONSENTS), incremental_configs=[entry])
    ward.done(ward.admin.incremental_alter_configs([resource]))
    ward.write(CONSENTS, "p-1", consent("p-1"))

    wait_until(lambda: not reference.is_current(), what="the end of trust")


def test_a_consent_counts_when_its_transaction_is_committed_and_not_before_or_else(ward: Ward):
    ward.create(1)
    reference = ward.followed()
    settings = {"bootstrap.servers": ward.bootstrap, "transactional.id": f"{ward.prefix}writer"}
    writer = Producer(settings)
    writer.init_transactions()

    def write(patient: str, end: Callable[[], None]) -> None:
        writer.begin_transaction()
        writer.produce(ward.name(CONSENTS), consent(patient), f"north|{patient}".encode())
        writer.flush()
        assert reference.consent("north", patient) is None
        end()

    write("p-aborted", writer.abort_transaction)
    write("p-given", writer.commit_transaction)

    wait_until(lambda: reference.consent("north", "p-given"), what="the committed consent")
    assert reference.consent("north", "p-aborted") is None
    again = ward.followed()
    assert again.consent("north", "p-given")
    assert again.consent("north", "p-aborted") is None


def test_what_stands_behind_an_open_transaction_may_be_a_revocation_so_nothing_is_current(ward: Ward):
    ward.create(1)
    ward.write(CONSENTS, "p-1", consent("p-1"))
    writer = Producer({"bootstrap.servers": ward.bootstrap, "transactional.id": f"{ward.prefix}hangs"})
    writer.init_transactions()
    writer.begin_transaction()
    writer.produce(ward.name(CONSENTS), consent("p-2"), b"north|p-2")
    writer.flush()
    ward.write(CONSENTS, "p-1", None)

    reference = ward.follow()
    with pytest.raises(RetryLater):
        reference.wait_until_current(1.5)
    writer.abort_transaction()

    reference.wait_until_current(30)
    assert reference.consent("north", "p-1") is None
    assert reference.consent("north", "p-2") is None


async def test_a_tie_between_partitions_closes_the_key_until_it_is_written_again(ward: Ward):
    """One request with a batch for each of two partitions: the broker appends both in one millisecond, sooner or later."""
    ward.create(2)
    writer = AIOKafkaProducer(bootstrap_servers=ward.bootstrap, linger_ms=20)
    await writer.start()
    tied: set[str] = set()
    for attempt in range(100):
        device = f"d-{attempt}"
        sent = [
            await writer.send(
                ward.name(PAIRINGS), pairing(device, f"p-of-{at}"), f"north|{device}".encode(), partition=at
            )
            for at in (0, 1)
        ]
        first, second = [(await confirmed).timestamp for confirmed in sent]
        if first == second:
            tied.add(device)
        if tied and attempt not in (0, int(min(tied)[2:])):
            break
    await writer.stop()
    assert tied

    reference = ward.followed()

    assert all(reference.pairing("north", device) is None for device in tied)
    assert len(reference.pairings()) == attempt + 1 - len(tied)
    wait_until(lambda: ward.gauge("reference_closed_keys", topic=PAIRINGS.name, cause="in_doubt") == len(tied))
    again = min(tied)
    ward.write(PAIRINGS, again, pairing(again, "p-known"))
    wait_until(lambda: reference.pairing("north", again), what="the pairing written again")


def test_a_record_that_says_two_things_of_one_name_closes_its_key(ward: Ward):
    ward.create(1)
    ward.write(CONSENTS, "p-1", consent("p-1"))
    twice = b'{"tenant_id":"north","patient_id":"p-1","status":"inactive","permits":[{"purpose":"vitals"}],"status":"active"}'
    ward.write(CONSENTS, "p-1", twice)

    assert ward.followed().consent("north", "p-1") is None
    wait_until(lambda: ward.gauge("reference_closed_keys", topic=CONSENTS.name, cause="unreadable") == 1)
