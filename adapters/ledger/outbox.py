"""The outbox: records for Kafka, written in the transaction of the change that causes them.

Audit steps get their number in the tenant's chain here, under the chain's lock, which is taken last and held until the commit.
A chain therefore has no gap, even if a worker dies, and its numbers are in the order of the rows.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, delete, insert, or_, select, update

from adapters.ledger.ordering_keys import parts, upsert
from adapters.ledger.rows import storable
from adapters.ledger.sealing import Seal
from adapters.ledger.tables import chains, outbox, outbox_lease
from schemas.audit import Link, Step, chained
from schemas.instants import from_epoch_us
from schemas.ports.kafka import Outgoing
from schemas.ports.ledger import OutboxEntries, OutboxRecord
from schemas.topics import ALL, AUDIT

_OWNER = "outbox"
_TOPICS = {topic.name: topic for topic in ALL}


def write(db: Connection, seal: Seal, now_us: int, entries: Sequence[OutboxEntries]) -> None:
    """Write records and audit events to the outbox, in the order given."""
    tenants = {_key(_storable(step).tenant_id) for one in entries for step in one.steps}
    links = {key: _locked(db, key) for key in sorted(tenants)}
    outgoing: list[Outgoing] = []
    for one in entries:
        outgoing += one.records
        for step in map(_storable, one.steps):
            key = _key(step.tenant_id)
            event, links[key] = chained(step, links[key], one.role, from_epoch_us(now_us))
            outgoing.append(Outgoing(AUDIT, event.tenant_id.encode(), event.model_dump_json().encode()))
    for part in parts(outgoing):
        db.execute(insert(outbox), [_row(record, now_us, seal) for record in part])
    for key, link in links.items():
        end = {"number": link.number, "hash": link.previous}
        db.execute(update(chains).where(chains.c.tenant == key).values(end))


def restart_chains(db: Connection) -> None:
    """After the ledger lost commits, its next numbers may have been used before: new writers start new chains."""
    db.execute(delete(chains))


def oldest_age_s(db: Connection, now_us: int) -> float | None:
    """The age of the oldest record; None when there is none. Locks nothing."""
    oldest = select(outbox.c.created_us).where(~outbox.c.unreadable).order_by(outbox.c.id).limit(1)
    created_us = db.execute(oldest).scalar_one_or_none()
    return None if created_us is None else max(now_us - created_us, 0) / 1_000_000


class Lease(NamedTuple):
    """Who publishes, and until when no other worker does."""

    holder: str
    lease_s: float


def lease_records(
    db: Connection, seal: Seal, now_us: int, lease: Lease, limit: int, without: Collection[str] = ()
) -> list[OutboxRecord]:
    """The first records, except those of some topics, for the holder of the lease; no other gets any until it ends."""
    if not _leased(db, now_us, *lease):
        return []
    wanted = select(outbox).where(~outbox.c.unreadable, outbox.c.topic.not_in(without))
    rows = db.execute(wanted.order_by(outbox.c.id).limit(limit)).all()
    opened = {row.id: _record(row.topic, seal.open(row.record, _OWNER)) for row in rows}
    damaged = [row_id for row_id, record in opened.items() if record is None]
    if damaged:
        db.execute(update(outbox).where(outbox.c.id.in_(damaged)).values(unreadable=True))
    return [OutboxRecord(row_id, record) for row_id, record in opened.items() if record is not None]


def confirm_sent(db: Connection, ids: Collection[int]) -> None:
    """Delete records that Kafka has confirmed."""
    for part in parts(sorted(ids)):
        db.execute(delete(outbox).where(outbox.c.id.in_(part)))


def _locked(db: Connection, key: str) -> Link:
    """The end of the chain, locked until the commit; a new chain gets a writer of its own."""
    fresh = upsert(db, chains).values(tenant=key, writer=f"ledger-{os.urandom(8).hex()}", number=0)
    lock = fresh.on_conflict_do_update(index_elements=[chains.c.tenant], set_={"tenant": fresh.excluded.tenant})
    row = db.execute(lock.returning(chains.c.writer, chains.c.number, chains.c.hash)).one()
    return Link(row.writer, row.number, row.hash)


def _leased(db: Connection, now_us: int, holder: str, lease_s: float) -> bool:
    db.execute(upsert(db, outbox_lease).on_conflict_do_nothing(), {"id": 1, "holder": "", "until_us": 0})
    free = or_(outbox_lease.c.holder == holder, outbox_lease.c.until_us <= now_us)
    lease = {"holder": holder, "until_us": now_us + round(lease_s * 1_000_000)}
    return db.execute(update(outbox_lease).where(free).values(lease)).rowcount == 1


def _storable(step: Step) -> Step:
    names = (step.operation_id, step.endpoint, step.source, step.reason, step.actor)
    texts = (None if text is None else storable(text) for text in names)
    return Step(storable(step.tenant_id), step.action, step.outcome, *texts)


def _key(tenant_id: str) -> str:
    return hashlib.sha256(tenant_id.encode()).hexdigest()[:32]


def _row(record: Outgoing, now_us: int, seal: Seal) -> dict[str, Any]:
    content = {
        "key": b64encode(record.key).decode(),
        "value": None if record.value is None else b64encode(record.value).decode(),
        "headers": [(name, b64encode(value).decode()) for name, value in record.headers],
        "partition": record.partition,
    }
    sealed = seal.close(orjson.dumps(content), _OWNER)
    return {"topic": record.topic.name, "record": sealed, "created_us": now_us, "unreadable": False}


def _record(topic: str, content: bytes | None) -> Outgoing | None:
    if content is None or topic not in _TOPICS:
        return None
    fields = orjson.loads(content)
    headers: Sequence[tuple[str, str]] = fields["headers"]
    return Outgoing(
        _TOPICS[topic],
        b64decode(fields["key"]),
        None if fields["value"] is None else b64decode(fields["value"]),
        fields["partition"],
        tuple((name, b64decode(value)) for name, value in headers),
    )
