"""`vitalwire audit verify`. What is shown holds no patient data."""

from __future__ import annotations

from pydantic import ValidationError

from adapters.kafka.topic_reader import KafkaTopicReader
from schemas.audit import AuditEvent
from schemas.ports.kafka import Stored, TopicReader
from schemas.topics import AUDIT
from streams.audit.verification import Chain, trail
from vitalwire.cli.output import as_json, complain, say
from vitalwire.settings import from_environment


def run_verify(*, as_json_document: bool) -> int:
    """Follow every chain that the topic keeps; 1 if one does not hold."""
    settings = from_environment()
    return verify(
        KafkaTopicReader(settings.bootstrap_servers(), prefix=settings.topic_prefix), as_json_document=as_json_document
    )


def verify(reader: TopicReader, *, as_json_document: bool) -> int:
    """The same with what reads the topic."""
    unreadable: list[str] = []

    def event(stored: Stored) -> AuditEvent | None:
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
        say(_told(chain))
    for one in broken:
        complain(f"the chain does not hold at {one}: changed, forged, or what came before it is missing")
    say("Every chain holds from its first kept event to its last." if not broken else "The trail does NOT hold.")
    return int(bool(broken))


def _told(chain: Chain) -> str:
    begins = "" if chain.first == 0 else "; what came before is not kept: compare with the topic's retention"
    return (
        f"{chain.tenant_id} {chain.writer}: events {chain.first} to {chain.last},"
        f" {chain.first_at.isoformat()} to {chain.last_at.isoformat()}{begins}"
    )
