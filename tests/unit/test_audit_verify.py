"""`vitalwire audit verify`: what an auditor is told, and the exit status."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pytest

from schemas.audit import Step
from schemas.ports.kafka import ConsumedRecord
from schemas.topics import TopicSpec
from streams.audit.trail import AuditChain
from vitalwire.cli.audit import verify

AT = datetime(2026, 1, 5, 10, tzinfo=UTC)


class Kept:
    """A topic that holds these values."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self.stored = [ConsumedRecord(0, offset, b"north", value) for offset, value in enumerate(values)]

    def read(self, _topic: TopicSpec) -> list[ConsumedRecord]:
        return self.stored

    def first_offsets(self, _topic: TopicSpec) -> Mapping[int, int]:
        return {}


def values(count: int) -> list[bytes]:
    events = AuditChain("clinical", "c-1").extend([Step("north", "observation.charted", "success")] * count, AT)
    return [event.model_dump_json().encode() for event in events]


def test_a_trail_that_holds_ends_with_0_and_says_from_where_it_is_kept(capsys: pytest.CaptureFixture[str]):
    assert verify(Kept(values(5)[2:]), as_json_document=False) == 0
    shown = capsys.readouterr().out
    assert "events 2 to 4" in shown
    assert "earlier events were removed" in shown


def test_a_gap_and_what_is_no_event_end_with_1_and_are_named(capsys: pytest.CaptureFixture[str]):
    kept = values(5)
    assert verify(Kept([kept[0], b"no event", kept[2], *kept[3:]]), as_json_document=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["holds"], told["broken"]) == (False, ["audit.events/0/1", "c-1/north/2"])
    assert [(chain["first"], chain["last"]) for chain in told["chains"]] == [(0, 4)]
