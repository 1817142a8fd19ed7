"""Admission as a table: one reading that arrives at ten o'clock, and what becomes of it, every reason by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.config import Config
from schemas.reading import MOST_MEASUREMENTS
from schemas.reasons import LATE, Reason
from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.telemetry.kernel.partition import Ingested, PartitionKernel
from streams.telemetry.kernel.vital_table import VitalTable

TEN_MS = 1_767_607_200_000  # 2026-01-05T10:00:00Z
DAY_MS = 86_400_000
OPENED = "opened"
MINUTE = {"window": "60s", "grace": "10s", "idle": "30s"}
VITALS = VitalTable(
    Config.model_validate(
        {
            "telemetry": {"clock_ahead": "5s", "max_age": "7d"},
            "vitals": {
                "heart_rate": {**MINUTE, "range": [20, 300]},
                "body_temperature": {**MINUTE, "range": [25, 45]},
            },
        }
    )
)
SINCE = "2020-01-01T00:00:00Z"
PAIRED = {
    "bed-1": [{"patient_id": "anna", "from": SINCE}],
    "moved": [{"patient_id": "anna", "from": SINCE, "until": "2026-01-05T09:59:30Z"}],
    "shared": [{"patient_id": "anna", "from": SINCE}, {"patient_id": "bela", "from": SINCE}],
    "twice": [{"patient_id": "anna", "from": SINCE}, {"patient_id": "anna", "from": SINCE}],
}
PAIRINGS = {
    ("north", device): Pairing.model_validate({"tenant_id": "north", "device_id": device, "intervals": intervals})
    for device, intervals in PAIRED.items()
}
READING = {
    "tenant_id": "north", "device_id": "bed-1", "type": "heart_rate", "value": 72, "unit": "/min", "time": TEN_MS,
}  # fmt: skip
MEASUREMENT = {name: READING[name] for name in ("type", "value", "unit", "time")}
FRAME = {"tenant_id": "north", "device_id": "bed-1"}

RULES: list[tuple[str, dict[str, Any], str]] = [
    # 1. is it a reading, with a time that is an instant?
    ("a plain reading", {}, OPENED),
    ("a time with an offset", {"time": "2026-01-05T11:00:00+01:00"}, OPENED),
    ("a time without an offset", {"time": "2026-01-05T10:00:00"}, Reason.NO_TIME_ZONE),
    ("no value", {"value": None}, Reason.MALFORMED),
    ("a value that is a string", {"value": "72"}, Reason.MALFORMED),
    ("no device", {"device_id": None}, Reason.MALFORMED),
    # 2. is the vital configured, and does the unit fit it?
    ("a vital that is not configured", {"type": "mood"}, Reason.UNKNOWN_TYPE),
    ("an alias of the unit", {"unit": "bpm"}, OPENED),
    ("no unit", {"unit": None}, Reason.UNKNOWN_UNIT),
    ("a unit that does not exist", {"unit": "furlong"}, Reason.UNKNOWN_UNIT),
    ("a unit of something else", {"unit": "kg"}, Reason.UNIT_MISMATCH),
    # 3. is the value plausible, in the canonical unit?
    ("the lowest plausible value", {"value": 20}, OPENED),
    ("below it", {"value": 19.999999}, Reason.OUT_OF_RANGE),
    ("the highest plausible value", {"value": 300}, OPENED),
    ("above it", {"value": 300.000001}, Reason.OUT_OF_RANGE),
    ("a value that no 64 bits hold", {"value": 1e300}, Reason.OUT_OF_RANGE),
    ("a value converted before it is checked", {"type": "body_temperature", "unit": "[degF]", "value": 98.6}, OPENED),
    (
        "a value plausible only unconverted",
        {"type": "body_temperature", "unit": "[degF]", "value": 40},
        Reason.OUT_OF_RANGE,
    ),
    # 4. is the device's clock near the broker's?
    ("as far ahead as allowed", {"time": TEN_MS + 5000}, OPENED),
    ("a millisecond further ahead", {"time": TEN_MS + 5001}, Reason.CLOCK_AHEAD),
    ("as old as allowed", {"time": TEN_MS - 7 * DAY_MS}, OPENED),
    ("a millisecond older", {"time": TEN_MS - 7 * DAY_MS - 1}, Reason.TOO_OLD),
    # 5. whose device was it when it measured?
    ("a device that nobody has", {"device_id": "stranger"}, Reason.UNPAIRED),
    ("measured before the pairing ended", {"device_id": "moved", "time": TEN_MS - 30_001}, OPENED),
    ("measured when the pairing ended", {"device_id": "moved", "time": TEN_MS - 30_000}, Reason.UNPAIRED),
    ("a device that two patients have", {"device_id": "shared"}, Reason.AMBIGUOUS_PAIRING),
    ("two intervals of one patient", {"device_id": "twice"}, OPENED),
    ("the payload names the paired patient", {"patient_id": "anna"}, OPENED),
    ("the payload names another patient", {"patient_id": "bela"}, Reason.PATIENT_MISMATCH),
    ("the payload names a patient nobody knows", {"patient_id": "zoe"}, Reason.PATIENT_MISMATCH),
]
ORDER: list[tuple[str, dict[str, Any], Reason]] = [
    ("malformed before unknown", {"value": "72", "type": "mood"}, Reason.MALFORMED),
    ("time zone before unit", {"time": "2026-01-05T10:00:00", "unit": "furlong"}, Reason.NO_TIME_ZONE),
    ("unit before range", {"unit": "kg", "value": 999}, Reason.UNIT_MISMATCH),
    ("range before clock", {"value": 999, "time": TEN_MS + DAY_MS}, Reason.OUT_OF_RANGE),
    ("clock before pairing", {"time": TEN_MS + DAY_MS, "device_id": "stranger"}, Reason.CLOCK_AHEAD),
    ("age before pairing", {"time": TEN_MS - 8 * DAY_MS, "device_id": "shared"}, Reason.TOO_OLD),
    ("pairing before the payload's patient", {"device_id": "stranger", "patient_id": "bela"}, Reason.UNPAIRED),
]
FRAMES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("one bad element", {"readings": [MEASUREMENT, {"type": 3}]}, [OPENED, Reason.MALFORMED]),
    ("no element", {"readings": []}, [Reason.MALFORMED]),
    ("an element of another device", {"readings": [MEASUREMENT | {"device_id": "moved"}]}, [Reason.MALFORMED]),
    (
        "an element of another patient than the frame",
        {"patient_id": "anna", "readings": [MEASUREMENT | {"patient_id": "bela"}]},
        [Reason.PATIENT_MISMATCH],
    ),
    ("one element too many", {"readings": [1] * (MOST_MEASUREMENTS + 1)}, [Reason.OVERSIZED]),
]


def admitted(value: bytes, *earlier: bytes) -> Ingested:
    """What becomes of the last record; each arrives at ten o'clock."""
    kernel = PartitionKernel("telemetry.readings", 0, VITALS, b"a key for tests only")
    for offset, before in enumerate(earlier):
        kernel.ingest([Record(offset, TEN_MS, None, before, ())], PAIRINGS, 1)
    return kernel.ingest([Record(len(earlier), TEN_MS, None, value, ())], PAIRINGS, 1)


def outcomes(result: Ingested) -> list[str]:
    return [OPENED] * result.opened + [str(reading.reason) for reading in (*result.quarantined, *result.late)]


def encoded(changes: dict[str, Any]) -> bytes:
    return orjson.dumps({name: value for name, value in (READING | changes).items() if value is not None})


@pytest.mark.parametrize(("changes", "outcome"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_a_reading_has_the_outcome_of_its_rule(changes: dict[str, Any], outcome: str) -> None:
    assert outcomes(admitted(encoded(changes))) == [outcome]


@pytest.mark.parametrize(("changes", "reason"), [rule[1:] for rule in ORDER], ids=[rule[0] for rule in ORDER])
def test_of_two_faults_the_one_that_is_checked_first_is_the_reason(changes: dict[str, Any], reason: Reason) -> None:
    assert outcomes(admitted(encoded(changes))) == [reason]


@pytest.mark.parametrize(("changes", "expected"), [rule[1:] for rule in FRAMES], ids=[rule[0] for rule in FRAMES])
def test_a_frame_has_the_outcomes_of_its_elements(changes: dict[str, Any], expected: list[str]) -> None:
    assert outcomes(admitted(orjson.dumps(FRAME | changes))) == expected


@pytest.mark.parametrize("text", [b"", b"not json", b"[1]", b'{"value": 1, "value": 2}', b"\xff"])
def test_bytes_that_are_no_reading_are_malformed(text: bytes) -> None:
    assert outcomes(admitted(text)) == [Reason.MALFORMED]


@pytest.mark.parametrize(
    ("earlier_ms", "outcome"),
    [(TEN_MS - 60_001, OPENED), (TEN_MS - 50_001, OPENED), (TEN_MS - 50_000, LATE), (TEN_MS, LATE)],
    ids=["before its end", "within the grace", "grace over", "a minute later"],
)
def test_a_reading_is_late_once_its_device_has_measured_past_its_window_and_the_grace(
    earlier_ms: int, outcome: str
) -> None:
    """Its window is 09:58, which ends at 09:59; the grace is 10 s."""
    reading = encoded({"time": TEN_MS - 90_000})
    assert outcomes(admitted(reading, encoded({"time": earlier_ms}))) == [outcome]


@pytest.mark.parametrize("changes", [rule[1] for rule in RULES if rule[2] != OPENED], ids=str)
def test_a_quarantined_reading_moves_no_clock_and_closes_nothing(changes: dict[str, Any]) -> None:
    reading = encoded({"time": TEN_MS - 90_000})
    assert outcomes(admitted(reading, encoded(changes))) == [OPENED]


def test_the_tables_name_every_reason_that_the_kernel_can_give() -> None:
    import tests.unit.test_closing_rules as closing

    kernel = Path(__file__).parents[2] / "streams" / "telemetry" / "kernel"
    given = {
        Reason[name] for path in kernel.glob("*.py") for name in re.findall(r"\bReason\.([A-Z_]+)", path.read_text())
    }
    named = {outcome for _, _, outcome in (*RULES, *ORDER)} | {o for _, _, expected in FRAMES for o in expected}
    assert given - {Reason.CONFLICTING_DUPLICATE} <= named
    assert given <= named | closing.REASONS
    assert {Reason.TOO_OLD, Reason.AMBIGUOUS_PAIRING} <= given, "the search finds what the kernel gives"
