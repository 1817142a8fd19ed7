"""A record of the outbox that Kafka refuses for good: it waits and is told, others go on, and nothing overtakes it."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.kafka.topics import create_or_verify
from adapters.ledger import SqlLedger, open_ledger
from adapters.metrics import PrometheusObserver
from schemas.audit import AuditEvent, Step
from schemas.ports.kafka import Outgoing
from schemas.ports.ledger import OutboxEntries
from schemas.topics import AUDIT, CORRECTIONS
from streams.audit.verification import broken_links
from streams.runtime.outbox import OutboxPublisher, published
from testbed.brokers import Broker
from tests.conditions import until
from tests.doubles.ledgers import migrated_file

WITHIN_S = 60.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with closing(open_ledger(migrated_file(tmp_path), None, subscribers=())) as opened:
        yield opened


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why the process would have ended."""
    why: list[str] = []
    monkeypatch.setattr("streams.runtime.fail_fast.exit_process", why.append)
    return why


@asynccontextmanager
async def publishing(bootstrap: str, prefix: str, ledger: SqlLedger) -> AsyncIterator[PrometheusObserver]:
    observer, sender = PrometheusObserver(), KafkaProducer(bootstrap, prefix=prefix, delivery_timeout_s=5)
    async with published(OutboxPublisher(ledger, sender, observer, "a worker")):
        yield observer
    sender.close()


def write(ledger: SqlLedger, *sources: str) -> None:
    steps = [Step("north", "window.quarantined", "refused", source=source) for source in sources]
    ledger.record([], None, lambda _none: OutboxEntries("clinical", steps))


def set_limit(bootstrap: str, topic: str, limit_bytes: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(limit_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result()


def audited(bootstrap: str, prefix: str) -> list[AuditEvent]:
    stored = KafkaTopicReader(bootstrap, prefix=prefix).read(AUDIT)
    return [AuditEvent.model_validate_json(one.value or b"") for one in stored]


async def until_nothing_waits(ledger: SqlLedger) -> None:
    await until(lambda: ledger.oldest_outbox_age_s() is None, WITHIN_S)


async def test_a_record_that_is_too_large_ends_no_worker_and_holds_back_no_other_topic_and_is_not_overtaken(
    broker: Broker, topic_prefix: str, ledger: SqlLedger, ended: list[str]
) -> None:
    bootstrap = broker.bootstrap_servers
    create_or_verify(bootstrap, topic_prefix, 1, 1)
    limit_bytes = 2_000
    set_limit(bootstrap, AUDIT.prefixed(topic_prefix), limit_bytes)
    too_large = secrets.token_hex(3 * limit_bytes)  # random: nothing compresses it below the limit
    write(ledger, "before", too_large, "after")
    ledger.mark_reviewed("pairing", {"a": "1"}, OutboxEntries("delivery", records=[Outgoing(CORRECTIONS, b"k", b"v")]))
    async with publishing(bootstrap, topic_prefix, ledger) as observer:
        await until(lambda: "outbox_age_seconds 0.0" not in observer.exposition().decode(), WITHIN_S)
        await until(lambda: list(KafkaTopicReader(bootstrap, prefix=topic_prefix).read(CORRECTIONS)), WITHIN_S)
        assert ledger.oldest_outbox_age_s() is not None
        write(ledger, "later")
        set_limit(bootstrap, AUDIT.prefixed(topic_prefix), 1_000_000)
        await until_nothing_waits(ledger)
    events = audited(bootstrap, topic_prefix)
    assert ended == []
    assert broken_links(events) == []
    sources = [event.source or "" for event in events]
    assert sources[0] == "before"
    assert sources[-3:] == [too_large, "after", "later"]


async def test_a_topic_that_was_deleted_ends_no_worker_and_gets_everything_when_it_is_made_again(
    broker: Broker, topic_prefix: str, ledger: SqlLedger, ended: list[str]
) -> None:
    bootstrap = broker.bootstrap_servers
    create_or_verify(bootstrap, topic_prefix, 1, 1)
    async with publishing(bootstrap, topic_prefix, ledger) as observer:
        write(ledger, "before")
        await until_nothing_waits(ledger)
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for gone in admin.delete_topics([AUDIT.prefixed(topic_prefix)]).values():
            gone.result()
        write(ledger, "while it is gone")
        await until(lambda: 'retries_total{dependency="kafka"}' in observer.exposition().decode() or ended, WITHIN_S)
        create_or_verify(bootstrap, topic_prefix, 1, 1)
        await until_nothing_waits(ledger)
    assert ended == []
    assert [event.source for event in audited(bootstrap, topic_prefix)] == ["while it is gone"]
