"""Which records of the reference topics on Apache Kafka are trusted: dated by the broker, committed, understood."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from adapters.kafka.topics import create_or_verify
from schemas.errors import RetryLater
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.reference_topics import ReferenceTopics, consent
from tests.system.raw_batches import batch, produce, record


@pytest.fixture
def topics(broker: Broker, topic_prefix: str) -> Iterator[ReferenceTopics]:
    made = ReferenceTopics(broker.bootstrap_servers, topic_prefix)
    yield made
    made.close()


def test_topics_that_keep_their_producers_times_are_not_trusted_until_they_are_corrected(
    topics: ReferenceTopics, caplog: pytest.LogCaptureFixture
):
    topics.create(2, PAIRINGS, PATIENTS)
    topics.create_with_producers_times(CONSENTS)
    topics.write(CONSENTS, "p-1", consent("p-1"), at=0)
    topics.write(CONSENTS, "p-2", consent("p-2"), at=0)
    topics.write(CONSENTS, "p-2", None, at=1)

    reference = topics.follow()
    wait_until(lambda: "LogAppendTime" in caplog.text, what="the reason in the log")
    with pytest.raises(RetryLater, match=r"reference\.consents uses producer timestamps.*: vitalwire topics"):
        reference.wait_until_current(1.0)
    assert reference.consent("north", "p-1") is None

    topics.date_by(CONSENTS, "LogAppendTime")
    reference.wait_until_current(30)
    assert reference.consent("north", "p-1")
    assert reference.consent("north", "p-2") is None
    wait_until(lambda: topics.gauge("reference_closed_keys", topic=CONSENTS.name, cause="in_doubt") == 1)

    def written_again_in_both() -> bool:
        """The first time a broker may not date records yet, though it says so, or date both by the same millisecond."""
        topics.write(CONSENTS, "p-2", None, at=1)
        topics.write(CONSENTS, "p-2", consent("p-2"), at=0)
        try:
            return bool(wait_until(lambda: reference.consent("north", "p-2"), 3))
        except AssertionError:
            return False

    wait_until(written_again_in_both, 60, what="the key that was written again in both")


def test_the_remedy_of_the_runbook_opens_a_key_that_two_partitions_put_in_doubt(
    topics: ReferenceTopics, tmp_path: Path
):
    topics.create(2, PAIRINGS, PATIENTS)
    topics.create_with_producers_times(CONSENTS)
    topics.write(CONSENTS, "p-1", consent("p-1"), at=0)
    topics.write(CONSENTS, "p-1", None, at=1)
    topics.date_by(CONSENTS, "LogAppendTime")
    reference = topics.followed()
    assert reference.consent("north", "p-1") is None
    topics.write(CONSENTS, "p-1", consent("p-1"), at=0)  # written once, the other record may still be the later one
    wait_until(lambda: topics.gauge("reference_closed_keys", topic=CONSENTS.name, cause="in_doubt") == 1)

    runbook = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    script = textwrap.dedent(runbook.split("   ```python\n", 1)[1].split("   ```", 1)[0])
    record = tmp_path / "record.json"
    record.write_bytes(consent("p-1"))
    told = [topics.bootstrap, topics.name(CONSENTS), "north|p-1", str(record)]
    subprocess.run([sys.executable, "-c", script, *told], check=True, timeout=60)

    wait_until(lambda: reference.consent("north", "p-1"), what="the key that was written to every partition")


def test_a_topic_whose_times_are_taken_from_its_producers_later_stops_being_trusted(topics: ReferenceTopics):
    topics.create(1)
    reference = topics.followed()

    topics.date_by(CONSENTS, "CreateTime")
    topics.write(CONSENTS, "p-1", consent("p-1"))

    wait_until(lambda: not reference.is_current(), what="the end of trust")


def test_a_consent_counts_when_its_transaction_is_committed_and_not_before_or_else(topics: ReferenceTopics):
    topics.create(1)
    reference = topics.followed()
    settings = {"bootstrap.servers": topics.bootstrap, "transactional.id": f"{topics.prefix}writer"}
    writer = Producer(settings)
    writer.init_transactions()

    def write(patient: str, end: Callable[[], None]) -> None:
        writer.begin_transaction()
        writer.produce(topics.name(CONSENTS), consent(patient), f"north|{patient}".encode())
        writer.flush()
        assert reference.consent("north", patient) is None
        end()

    write("p-aborted", writer.abort_transaction)
    write("p-given", writer.commit_transaction)

    wait_until(lambda: reference.consent("north", "p-given"), what="the committed consent")
    assert reference.consent("north", "p-aborted") is None
    again = topics.followed()
    assert again.consent("north", "p-given")
    assert again.consent("north", "p-aborted") is None


def test_no_consent_is_current_while_an_open_transaction_may_hide_a_revocation(topics: ReferenceTopics):
    topics.create(1)
    topics.write(CONSENTS, "p-1", consent("p-1"))
    writer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": f"{topics.prefix}hangs"})
    writer.init_transactions()
    writer.begin_transaction()
    writer.produce(topics.name(CONSENTS), consent("p-2"), b"north|p-2")
    writer.flush()
    topics.write(CONSENTS, "p-1", None)

    reference = topics.follow()
    with pytest.raises(RetryLater):
        reference.wait_until_current(1.5)
    writer.abort_transaction()

    reference.wait_until_current(30)
    assert reference.consent("north", "p-1") is None
    assert reference.consent("north", "p-2") is None


def test_a_record_that_says_two_things_of_one_name_closes_its_key(topics: ReferenceTopics):
    topics.create(1)
    topics.write(CONSENTS, "p-1", consent("p-1"))
    twice = b'{"tenant_id":"north","patient_id":"p-1","status":"inactive","permits":[{"purpose":"vitals"}],"status":"active"}'
    topics.write(CONSENTS, "p-1", twice)

    assert topics.followed().consent("north", "p-1") is None
    wait_until(lambda: topics.gauge("reference_closed_keys", topic=CONSENTS.name, cause="unreadable") == 1)


def test_topics_says_which_reference_topic_keeps_its_producers_times_and_what_to_do(topics: ReferenceTopics):
    topics.create_with_producers_times(CONSENTS)

    (state,) = create_or_verify(topics.bootstrap, topics.prefix, only=[CONSENTS])

    assert state.state == "differs"
    assert "message.timestamp.type is CreateTime, should be LogAppendTime" in state.differences
    assert any(difference.startswith("delete.retention.ms") for difference in state.differences)
    assert "message.timestamp.type=LogAppendTime" in state.remedies[0]


ODD = [
    record(0, consent("p-1"), b"north|p-1", [(b"\xff\xfe", b"x")]),
    record(1, consent("p-2"), b"\xff|p-2"),
    record(2, consent("p-3"), b""),
    record(3, b"[" * 200_000, b"north|p-4"),
    record(4, b'{"tenant_id":' + b"9" * 100_000 + b"}", b"north|p-5"),
    record(5, b'{"resourceType":"Consent","status":"active","provision":[1e400]}', b"north|p-6"),
    record(6, b"\x00", b"north|" + b"p" * 10_000),
]


def test_records_of_odd_bytes_close_their_own_key_at_most_and_the_reader_lives(topics: ReferenceTopics):
    """A header name that is no UTF-8 is no part of what is read: that record is as good as any."""
    topics.create(1)
    for number in range(4, 7):
        topics.write(CONSENTS, f"p-{number}", consent(f"p-{number}"))
    reference = topics.followed()
    assert produce(topics.bootstrap, topics.name(CONSENTS), 0, batch(ODD)) == 0
    topics.write(CONSENTS, "p-7", consent("p-7"))

    wait_until(lambda: reference.consent("north", "p-7"), what="the record after the odd ones")
    assert reference.consent("north", "p-1")
    assert [p for p in ("p-4", "p-5", "p-6") if (c := reference.consent("north", p)) and c.status == "active"] == []
    wait_until(reference.is_current)
    again = topics.followed()
    assert again.consent("north", "p-1")
    assert again.consent("north", "p-7")
