"""`vitalwire audit verify`. Its output contains no patient data."""

from __future__ import annotations

from pydantic import ValidationError

from adapters.kafka.topic_reader import KafkaTopicReader
from schemas.audit import AuditEvent
from schemas.ports.kafka import ConsumedRecord, TopicReader
from schemas.topics import AUDIT
from streams.audit.verification import Chain, trail
from vitalwire.cli.output import as_json, complain, say
from vitalwire.settings import from_environment


def run_verify(*, as_json_document: bool) -> int:
    """Verify every chain in the topic; 1 if one is broken."""
    settings = from_environment()
    return verify(
        KafkaTopicReader(settings.bootstrap_servers(), prefix=settings.topic_prefix), as_json_document=as_json_document
    )


def verify(reader: TopicReader, *, as_json_document: bool) -> int:
    """Verify the chains that `reader` finds in the topic."""
    unreadable: list[str] = []

    def event(stored: ConsumedRecord) -> AuditEvent | None:
        try:
            return AuditEvent.model_validate_json(stored.value or b"")
        except ValidationError:
            unreadable.append(f"{AUDIT.name}/{stored.partition}/{stored.offset}")
            return None

    found = trail(event for event in map(event, reader.read(AUDIT)) if event is not None)
    broken = [*unreadable, *found.broken()]
    if as_json_document:
        as_json({"holds": not broken, "broken": broken, "chains": [one._asdict() for one in found.chains]})
        return int(bool(broken))
    for chain in found.chains:
        say(_line(chain))
    for one in broken:
        complain(f"the chain is broken at {one}: an event was changed, forged, or removed before it")
    say(
        "Every chain is intact from its first retained event to its last."
        if not broken
        else "The audit trail is NOT intact."
    )
    return int(bool(broken))


def _line(chain: Chain) -> str:
    begins = "" if chain.first == 0 else "; earlier events were removed: compare with the topic's retention"
    return (
        f"{chain.tenant_id} {chain.writer}: events {chain.first} to {chain.last},"
        f" {chain.first_at.isoformat()} to {chain.last_at.isoformat()}{begins}"
    )
