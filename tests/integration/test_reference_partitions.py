"""Reference data on Apache Kafka when topics grow, are made anew, or have writers that place keys differently."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer

from adapters.reference import KafkaReference
from schemas.topics import CONSENTS, PAIRINGS, TopicSpec
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.reference_topics import CRC32, MURMUR2, ReferenceTopics, consent, pairing

PATIENTS_CONSENTING = [f"p-{number}" for number in range(20)]


@pytest.fixture
def topics(broker: Broker, topic_prefix: str) -> Iterator[ReferenceTopics]:
    made = ReferenceTopics(broker.bootstrap_servers, topic_prefix)
    yield made
    made.close()


def active(reference: KafkaReference) -> list[str]:
    return [patient for patient in PATIENTS_CONSENTING if reference.consent("north", patient)]


def test_revocations_in_partitions_that_a_topic_got_later_are_all_obeyed(topics: ReferenceTopics):
    topics.create(1)
    for patient in PATIENTS_CONSENTING:
        topics.write(CONSENTS, patient, consent(patient))
    reference = topics.followed()
    assert active(reference) == PATIENTS_CONSENTING

    topics.grow(CONSENTS, 4)
    wait_until(lambda: not reference.is_current(), what="the growth noticed")
    for patient in PATIENTS_CONSENTING:
        topics.write(CONSENTS, patient, None, by=CRC32)
    assert set().union(*topics.places(CONSENTS).values()) == {0, 1, 2, 3}

    wait_until(lambda: reference.is_current() and not active(reference), what="every revocation obeyed")
    assert active(topics.followed()) == []
    assert topics.gauge("reference_split_keys", topic=CONSENTS.name) > 0


def test_revocations_written_at_once_after_a_topic_grew_are_obeyed_as_soon_as_the_data_is_current_again(
    topics: ReferenceTopics,
):
    topics.create(1)
    for patient in PATIENTS_CONSENTING:
        topics.write(CONSENTS, patient, consent(patient))
    reference = topics.followed()

    topics.grow(CONSENTS, 4)
    for patient in PATIENTS_CONSENTING:
        topics.write(CONSENTS, patient, None, by=CRC32)

    wait_until(lambda: not reference.is_current() or not active(reference), what="the growth noticed")
    wait_until(reference.is_current, what="all of it read")
    assert active(reference) == []


def test_of_writers_that_place_a_key_differently_the_last_one_is_right(topics: ReferenceTopics):
    topics.create(4)
    names = [f"x-{number}" for number in range(12)]
    for name in names:
        topics.write(CONSENTS, name, consent(name), by=MURMUR2)
        topics.write(PAIRINGS, name, pairing(name, "p-before"), by=CRC32)
    for name in names:
        topics.write(CONSENTS, name, None, by=CRC32)
        topics.write(PAIRINGS, name, pairing(name, "p-after"), by=MURMUR2)
    assert any(len(places) == 2 for places in topics.places(CONSENTS).values())
    assert any(len(places) == 2 for places in topics.places(PAIRINGS).values())

    reference = topics.followed()

    assert [name for name in names if reference.consent("north", name)] == []
    assert {reference.pairing("north", name).intervals[0].patient_id for name in names} == {"p-after"}
    for name in names:
        topics.write(CONSENTS, name, consent(name), by=MURMUR2)
    wait_until(lambda: all(reference.consent("north", name) for name in names), what="the consents given again")


def test_an_older_value_read_later_does_not_revive_a_removed_key(topics: ReferenceTopics):
    """The partition read first holds the tombstone; the other one still holds what was revoked."""
    topics.create(2)
    for patient in PATIENTS_CONSENTING:
        topics.write(CONSENTS, patient, consent(patient), at=1)
    wait_until(lambda: len(topics.places(CONSENTS)) == len(PATIENTS_CONSENTING))
    for patient in PATIENTS_CONSENTING:
        topics.write(CONSENTS, patient, None, at=0)

    for _ in range(3):
        assert active(topics.followed()) == []


def test_a_consent_missing_from_a_recreated_topic_is_removed(topics: ReferenceTopics):
    topics.create(2)
    for patient in ("p-1", "p-2"):
        topics.write(CONSENTS, patient, consent(patient))
    reference = topics.followed()
    version = reference.version()

    topics.remove(CONSENTS)
    wait_until(lambda: not reference.is_current(), what="the missing topic noticed")
    wait_until(lambda: recreated(topics, CONSENTS, 2), what="the topic recreated")
    topics.write(CONSENTS, "p-2", consent("p-2"))
    reference.wait_until_current(30)

    wait_until(lambda: reference.consent("north", "p-2"), what="what is in the new topic")
    assert reference.consent("north", "p-1") is None
    assert reference.version() > version


def test_a_topic_recreated_between_two_reads_is_recognised_by_its_id(topics: ReferenceTopics):
    """The new one has as many partitions and records as the old one had, so that only its id tells."""
    topics.create(1)
    topics.write(CONSENTS, "p-1", consent("p-1"))
    reference = topics.followed()

    topics.remove(CONSENTS)
    wait_until(lambda: recreated(topics, CONSENTS, 1), what="the topic recreated")
    topics.write(CONSENTS, "p-2", consent("p-2"))

    wait_until(
        lambda: reference.consent("north", "p-1") is None and reference.is_current(), what="the old one forgotten"
    )
    wait_until(lambda: reference.consent("north", "p-2"), what="the new one read")


def recreated(topics: ReferenceTopics, spec: TopicSpec, partitions: int) -> bool:
    try:
        topics.create(partitions, spec)
        return len(topics.described(spec).partitions) == partitions
    except Exception:  # it is still being deleted
        return False


async def test_a_tie_between_partitions_closes_the_key_until_it_is_written_again(topics: ReferenceTopics):
    """One request with a batch for each of two partitions: the broker appends both in one millisecond, sooner or later."""
    topics.create(2)
    writer = AIOKafkaProducer(bootstrap_servers=topics.bootstrap, linger_ms=20)
    await writer.start()
    tied: set[str] = set()
    for attempt in range(100):
        device = f"d-{attempt}"
        sent = [
            await writer.send(
                topics.name(PAIRINGS), pairing(device, f"p-of-{at}"), f"north|{device}".encode(), partition=at
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

    reference = topics.followed()

    assert all(reference.pairing("north", device) is None for device in tied)
    assert len(reference.pairings()) == attempt + 1 - len(tied)
    wait_until(lambda: topics.gauge("reference_closed_keys", topic=PAIRINGS.name, cause="in_doubt") == len(tied))
    again = min(tied)
    topics.write(PAIRINGS, again, pairing(again, "p-known"))
    wait_until(lambda: reference.pairing("north", again), what="the pairing written again")
