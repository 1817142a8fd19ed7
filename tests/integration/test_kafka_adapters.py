"""Producer, topic reader, reference data and stall watchdog against Apache Kafka."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Consumer, TopicPartition

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.stall_watchdog import StallWatchdog
from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.kafka.topics import create_or_verify
from adapters.metrics import PrometheusObserver
from adapters.reference import KafkaReference
from mappings.consent.resource import consent_from_fhir
from schemas.config import Config
from schemas.errors import Misconfigured, RetryLater
from schemas.ports.kafka import Outgoing
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, WINDOWS, TopicSpec
from testbed.brokers import Broker, start_broker
from tests.conditions import wait_until

PARTITIONS = 3
TOPICS = (WINDOWS, PAIRINGS, PATIENTS, CONSENTS)
AT = datetime(2026, 1, 5, 10, tzinfo=UTC)


def create(bootstrap: str, prefix: str) -> None:
    create_or_verify(bootstrap, prefix, PARTITIONS, only=TOPICS)


@pytest.fixture
def kafka(broker: Broker, topic_prefix: str) -> str:
    create(broker.bootstrap_servers, topic_prefix)
    return broker.bootstrap_servers


@pytest.fixture
def producer(kafka: str, topic_prefix: str) -> Iterator[KafkaProducer]:
    made = KafkaProducer(kafka, prefix=topic_prefix)
    yield made
    made.close()


def windows(count: int) -> list[Outgoing]:
    return [Outgoing(WINDOWS, b"north|p-%d" % (n % 50), b"%d" % n) for n in range(count)]


async def test_every_record_is_there_when_send_returns_and_each_key_keeps_its_order(
    kafka: str, topic_prefix: str, producer: KafkaProducer
):
    await producer.send(windows(20_000))
    stored = list(KafkaTopicReader(kafka, prefix=topic_prefix).read(WINDOWS))
    assert len(stored) == 20_000
    by_key: dict[bytes, list[int]] = {}
    for record in stored:
        by_key.setdefault(record.key, []).append(int(record.value))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


async def test_a_key_goes_to_the_partition_where_aiokafka_would_put_it(
    kafka: str, topic_prefix: str, producer: KafkaProducer
):
    await producer.send(windows(200))
    everywhere = list(range(PARTITIONS))
    for record in KafkaTopicReader(kafka, prefix=topic_prefix).read(WINDOWS):
        assert record.partition == DefaultPartitioner()(record.key, everywhere, everywhere)


async def test_partition_headers_and_tombstones_arrive_as_given(kafka: str, topic_prefix: str, producer: KafkaProducer):
    await producer.send([Outgoing(WINDOWS, b"k", None, 2, (("why", b"\x00gone"),))])
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "nobody"})
    consumer.assign([TopicPartition(WINDOWS.prefixed(topic_prefix), 2, 0)])
    (message,) = wait_until(lambda: consumer.consume(1, 1.0), what="the record")
    assert (message.key(), message.value(), message.headers()) == (b"k", None, [("why", b"\x00gone")])
    consumer.close()


async def test_concurrent_sends_each_confirm_their_own_records(kafka: str, topic_prefix: str, producer: KafkaProducer):
    await asyncio.gather(*(producer.send(windows(37)) for _ in range(20)))
    assert sum(1 for _ in KafkaTopicReader(kafka, prefix=topic_prefix).read(WINDOWS)) == 20 * 37


async def test_a_record_that_kafka_will_never_take_is_misconfigured_and_not_quoted(producer: KafkaProducer):
    with pytest.raises(Misconfigured) as refused:
        await producer.send([Outgoing(WINDOWS, b"k", b"CANARY" + Random(1).randbytes(3_000_000))])
    assert "CANARY" not in str(refused.value)
    await producer.send(windows(1))


async def test_a_broker_that_is_away_is_retry_later():
    producer = KafkaProducer("127.0.0.1:1", delivery_timeout_s=1.0)
    with pytest.raises(RetryLater):
        await producer.send(windows(3))
    producer.close(0.1)


def test_reading_an_empty_topic_gives_nothing_and_an_unknown_one_is_retry_later(kafka: str, topic_prefix: str):
    reader = KafkaTopicReader(kafka, prefix=topic_prefix)
    assert list(reader.read(WINDOWS)) == []
    with pytest.raises(RetryLater):
        list(reader.read(TopicSpec("never.created", "k", "-")))


# --- reference data -------------------------------------------------------------------------------------------------


def pairing(device: str, patient: str) -> Outgoing:
    value = {"tenant_id": "north", "device_id": device, "intervals": [{"patient_id": patient, "from": AT.isoformat()}]}
    return Outgoing(PAIRINGS, f"north|{device}".encode(), json.dumps(value).encode())


def consent(patient: str, **more: object) -> Outgoing:
    value = {"tenant_id": "north", "patient_id": patient, "status": "active", "permits": [{"purpose": "vitals"}]}
    return Outgoing(CONSENTS, f"north|{patient}".encode(), json.dumps(value | more).encode())


def patient(name: str) -> Outgoing:
    value = {"tenant_id": "north", "patient_id": name, "subject_ids": {"north-epic": "eAB3"}}
    return Outgoing(PATIENTS, f"north|{name}".encode(), json.dumps(value).encode())


@pytest.fixture
def followed(kafka: str, topic_prefix: str) -> Iterator[Callable[..., KafkaReference]]:
    started: list[KafkaReference] = []

    def follow(observer: PrometheusObserver | None = None) -> KafkaReference:
        reference = KafkaReference(
            kafka,
            consent_from_fhir=consent_from_fhir,
            understand=Config().understood,
            observer=observer or PrometheusObserver(),
            prefix=topic_prefix,
        )
        started.append(reference)
        reference.start()
        reference.wait_until_current(30)
        return reference

    yield follow
    for reference in started:
        reference.close()


async def test_reference_data_is_complete_when_it_is_current(producer: KafkaProducer, followed: Callable):
    await producer.send([*(pairing(f"m-{n}", f"p-{n}") for n in range(2000)), patient("p-1"), consent("p-1")])
    reference = followed()
    assert reference.is_current()
    assert len(reference.pairings()) == 2000
    assert reference.pairings()["north", "m-7"].intervals[0].patient_id == "p-7"
    assert reference.patient("north", "p-1").subject_ids == {"north-epic": "eAB3"}
    assert reference.consent("north", "p-1").allows("vitals", "spo2", "north-epic", AT)
    assert reference.patient("south", "p-1") is None


async def test_reference_data_of_empty_topics_is_current_and_permits_nothing(followed: Callable):
    reference = followed()
    assert reference.consent("north", "p-1") is None
    assert reference.pairings() == {}


async def test_changes_and_tombstones_are_followed_and_grow_the_version(producer: KafkaProducer, followed: Callable):
    await producer.send([pairing("m-1", "p-1"), consent("p-1")])
    reference = followed()
    before, version = reference.pairings(), reference.pairings_version()
    any_version = reference.version()
    await producer.send([Outgoing(CONSENTS, b"north|p-1", None)])
    wait_until(lambda: reference.consent("north", "p-1") is None, what="the consent's end")
    assert reference.version() == any_version  # so that nobody goes through pairings and patients for a consent
    await producer.send([pairing("m-1", "p-2")])
    wait_until(lambda: reference.pairings_version() > version, what="the new pairing")
    assert reference.pairings()["north", "m-1"].intervals[0].patient_id == "p-2"
    assert before is reference.pairings()  # one change copies nothing
    assert reference.pairing("north", "m-1") is before["north", "m-1"]
    assert reference.version() > any_version


@pytest.mark.parametrize(
    "broken", [b"{", b"[]", b"7", b"null", b"\xff", b'{"tenant_id":"north","patient_id":"p-2","status":"active"}']
)
async def test_a_record_that_cannot_be_understood_closes_its_key_and_is_reported_without_its_content(
    producer: KafkaProducer, followed: Callable, broken: bytes, caplog: pytest.LogCaptureFixture
):
    observer = PrometheusObserver()
    with caplog.at_level(logging.WARNING):
        await producer.send([consent("p-1"), consent("p-3"), Outgoing(CONSENTS, b"north|p-1", broken)])
        reference = followed(observer)
    assert reference.consent("north", "p-1") is None
    assert reference.consent("north", "p-3") is not None
    assert 'reference_malformed_total{topic="reference.consents"} 1.0' in observer.exposition().decode()
    assert "reference.consents" in caplog.text
    assert "p-1" not in caplog.text


async def test_a_broken_pairing_leaves_the_device_unpaired_rather_than_paired_as_before(
    producer: KafkaProducer, followed: Callable
):
    await producer.send([pairing("m-1", "p-1"), Outgoing(PAIRINGS, b"north|m-1", b"{")])
    assert followed().pairings() == {}


async def test_a_fhir_consent_is_taken_for_the_patient_of_its_key(producer: KafkaProducer, followed: Callable):
    resource = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"code": "59284-0"}]}],
        "provision": {"type": "permit"},
    }
    await producer.send([Outgoing(CONSENTS, b"north|p-1", json.dumps(resource).encode())])
    taken = followed().consent("north", "p-1")
    assert taken == consent_from_fhir(resource, "north", "p-1")


def test_reference_data_is_no_longer_current_when_the_broker_is_away_and_current_again_when_it_is_back(tmp_path: Path):
    with start_broker("apache", data_directory=tmp_path / "data", log_file=tmp_path / "log") as own:
        create(own.bootstrap_servers, "")
        reference = KafkaReference(
            own.bootstrap_servers,
            consent_from_fhir=consent_from_fhir,
            understand=Config().understood,
            observer=PrometheusObserver(),
            stale_after_s=3.0,
        )
        reference.start()
        reference.wait_until_current(30)
        own.stop()
        wait_until(lambda: not reference.is_current(), what="staleness")
        own.start()
        reference.wait_until_current(60)
        reference.close()


# --- stall watchdog -------------------------------------------------------------------------------------------------


def commit(kafka: str, topic: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "watched"})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


async def test_a_partition_that_does_not_move_though_there_is_something_to_read_ends_the_worker(
    kafka: str, topic_prefix: str, producer: KafkaProducer
):
    topic = WINDOWS.prefixed(topic_prefix)
    await producer.send([Outgoing(WINDOWS, b"k", b"%d" % n, 0) for n in range(5)])
    commit(kafka, topic, 2)
    reasons: list[str] = []
    observer = PrometheusObserver()
    watchdog = StallWatchdog(kafka, "watched", lambda: {topic: [0, 1]}, observer, stall_after_s=1.0, end=reasons.append)
    watchdog.start()
    reason = wait_until(lambda: reasons and reasons[0], what="the end")
    watchdog.stop()
    assert f"{topic} partition 0 stays at offset 2 of 5" in reason
    assert f'partition_lag{{partition="0",topic="{topic}"}} 3.0' in observer.exposition().decode()
    assert not any("partition 1" in told for told in reasons)


async def test_a_partition_that_moves_is_left_alone(kafka: str, topic_prefix: str, producer: KafkaProducer):
    topic = WINDOWS.prefixed(topic_prefix)
    await producer.send([Outgoing(WINDOWS, b"k", b"%d" % n, 0) for n in range(200)])
    reasons: list[str] = []
    looks: list[int] = []

    def assigned() -> dict[str, list[int]]:
        looks.append(len(looks))
        commit(kafka, topic, len(looks))
        return {topic: [0]}

    watchdog = StallWatchdog(kafka, "watched", assigned, PrometheusObserver(), stall_after_s=1.0, end=reasons.append)
    watchdog.start()
    wait_until(lambda: len(looks) > 12, what="a dozen looks")
    watchdog.stop()
    assert reasons == []


async def test_the_lag_of_a_partition_that_moved_to_another_worker_is_no_longer_shown(
    kafka: str, topic_prefix: str, producer: KafkaProducer
):
    topic = WINDOWS.prefixed(topic_prefix)
    await producer.send([Outgoing(WINDOWS, b"k", b"%d" % n, n % 2) for n in range(6)])
    observer = PrometheusObserver()
    mine = [0, 1]

    def lags() -> list[float | None]:
        name = "vitalwire_partition_lag"
        return [observer.registry.get_sample_value(name, {"topic": topic, "partition": p}) for p in ("0", "1")]

    watchdog = StallWatchdog(kafka, "watched", lambda: {topic: mine}, observer, stall_after_s=2.0, end=lambda _: None)
    watchdog.start()
    wait_until(lambda: lags() == [3, 3], what="the lag of both")
    mine.remove(1)
    wait_until(lambda: lags() == [3, 0], what="the lag of one")
    watchdog.stop()
