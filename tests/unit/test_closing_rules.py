"""Closing as a table: when the window of ten o'clock closes, and what it counts, repeats and contradictions included."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from schemas.config import Config
from schemas.reasons import Reason
from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.telemetry.kernel.partition import Closed, PartitionKernel
from streams.telemetry.kernel.vital_table import VitalTable

TEN_MS = 1_767_607_200_000  # 2026-01-05T10:00:00Z
MINUTE = {"window": "60s", "grace": "10s", "idle": "30s"}
VITALS = VitalTable(
    Config.model_validate(
        {
            "telemetry": {"max_open": "5m"},
            "vitals": dict.fromkeys(("heart_rate", "spo2", "systolic_bp", "diastolic_bp"), MINUTE),
        }
    )
)
UNITS = {"heart_rate": "/min", "spo2": "%", "systolic_bp": "mm[Hg]", "diastolic_bp": "mm[Hg]"}
SINCE = "2020-01-01T00:00:00Z"
AT_10_00_30 = "2026-01-05T10:00:30Z"
REASONS = {Reason.CONFLICTING_DUPLICATE, Reason.UNPAIRED, Reason.AMBIGUOUS_PAIRING, Reason.PATIENT_MISMATCH}
"""Why a reading may still leave its open window for the quarantine."""

Pairings = dict[tuple[str, str], Pairing]


def paired(*intervals: tuple[str, str, str | None], device: str = "bed-1") -> Pairings:
    spans = [{"patient_id": patient, "from": since, "until": until} for patient, since, until in intervals]
    pairing = {"tenant_id": "north", "device_id": device, "intervals": spans}
    return {("north", device): Pairing.model_validate(pairing)}


ANNA = paired(("anna", SINCE, None))


def record(offset: int, measured_s: float, arrived_s: float, **changes: Any) -> Record:
    """One reading; times in seconds after ten o'clock."""
    vital = changes.get("type", "heart_rate")
    reading = {
        "tenant_id": "north", "device_id": "bed-1", "type": vital, "value": 72, "unit": UNITS[vital],
        "time": TEN_MS + round(measured_s * 1000),
    }  # fmt: skip
    return Record(offset, TEN_MS + round(arrived_s * 1000), None, orjson.dumps(reading | changes), ())


class Partition:
    """A kernel, and all that its closing passes gave."""

    def __init__(self, pairings: Pairings) -> None:
        self.kernel = PartitionKernel("telemetry.readings", 0, VITALS, b"a key for tests only")
        self.pairings, self.version = pairings, 1

    def ingest(self, *records: Record) -> None:
        assert self.kernel.ingest(records, self.pairings, self.version).opened == len(records)

    def close(self, at_s: float | None = None) -> Closed:
        """What is due; `at_s` is the broker's clock of a silent partition."""
        found, more = Closed(), True
        while more:
            closed = self.kernel.close(None if at_s is None else TEN_MS + round(at_s * 1000))
            found.windows += closed.windows
            found.quarantined += closed.quarantined
            more = closed.more
        return found


def windows(closed: Closed) -> list[dict[str, Any]]:
    return [orjson.loads(window.value) for window in closed.windows]


@pytest.mark.parametrize(
    ("then", "at_s", "closed"),
    [
        (record(1, 69.999, 69.999), None, []),
        (record(1, 70, 70), None, ["heart_rate"]),
        (record(1, 70, 70, type="spo2"), None, ["heart_rate"]),
        (None, 74.999, []),
        (None, 75, ["heart_rate"]),
        (record(1, 45.5, 60), 89.999, []),
        (record(1, 45.5, 60), 90, ["heart_rate"]),
    ],
    ids=[
        "1 ms before end and grace", "end and grace", "end and grace, by another vital of the device",
        "1 ms before idle", "idle", "idle counts from the last arrival: 1 ms before", "idle counts from the last arrival",
    ],
)  # fmt: skip
def test_a_window_closes_by_its_devices_clock_or_by_its_silence(
    then: Record | None, at_s: float | None, closed: list[str]
) -> None:
    """One reading is measured at 10:00:45 and arrives at once. Grace 10 s, idle 30 s."""
    partition = Partition(ANNA)
    partition.ingest(record(0, 45, 45))
    if then is not None:
        partition.ingest(then)
    assert [window["type"] for window in windows(partition.close(at_s))] == closed


@pytest.mark.parametrize(("last_s", "closed"), [(399, 0), (400, 1)], ids=["1 s before max_open", "max_open"])
def test_a_window_closes_when_it_was_open_for_its_longest_though_its_devices_clock_has_stopped(
    last_s: int, closed: int
) -> None:
    """Longest: window 60 s, grace 10 s, idle 30 s and max_open 5 min, after the first reading arrived."""
    partition = Partition(ANNA)
    partition.ingest(*(record(at, 0.5, 20 * at, seq=at) for at in range(20)))
    assert len(partition.close(last_s).windows) == closed


@pytest.mark.parametrize("first", ["systolic_bp", "diastolic_bp"])
def test_both_halves_of_a_panel_close_together(first: str) -> None:
    """The idle time of either half is over only with that of the device; both name each other."""
    second = "diastolic_bp" if first == "systolic_bp" else "systolic_bp"
    partition = Partition(ANNA)
    partition.ingest(record(0, 1, 1, type=first), record(1, 20, 20, type=second))
    assert not partition.close(49.999).windows
    assert {w["type"]: w["companions"] for w in windows(partition.close(50))} == {first: [second], second: [first]}


@pytest.mark.parametrize(
    ("second", "count", "duplicates", "reasons"),
    [
        ({"seq": 2}, 2, 0, []),
        ({"seq": 1}, 1, 1, []),
        ({}, 1, 1, []),
        ({"seq": 2, "value": 73}, 0, 0, [Reason.CONFLICTING_DUPLICATE] * 2),
        ({"value": 73}, 0, 0, [Reason.CONFLICTING_DUPLICATE] * 2),
    ],
    ids=["another seq", "the same seq", "no seq", "another value and seq", "another value"],
)
def test_two_readings_of_one_instant_are_two_or_a_repeat_or_contradict_each_other(
    second: dict[str, Any], count: int, duplicates: int, reasons: list[Reason]
) -> None:
    partition = Partition(ANNA)
    partition.ingest(record(0, 1, 1, seq=1), record(1, 1, 1, **second))
    closed = partition.close(31)
    assert [(w["count"], w["duplicates"]) for w in windows(closed)] == ([(count, duplicates)] if count else [])
    assert [row.reason for row in closed.quarantined] == reasons


def test_a_contradiction_takes_only_the_readings_of_its_instant() -> None:
    partition = Partition(ANNA)
    partition.ingest(record(0, 1, 1), record(1, 2, 2, value=80), record(2, 2, 2, value=90), record(3, 3, 3, value=74))
    closed = partition.close(60)
    assert [(w["count"], w["first"], w["last"], w["mean"]) for w in windows(closed)] == [(2, 72, 74, 73)]
    assert sorted(row.offset for row in closed.quarantined) == [1, 2]


def test_each_patient_of_a_device_gets_a_window_of_their_own() -> None:
    partition = Partition(paired(("anna", SINCE, AT_10_00_30), ("bela", AT_10_00_30, None)))
    partition.ingest(*(record(at, second, second) for at, second in enumerate((10, 29.999, 30, 40))))
    closed = windows(partition.close(100))
    assert {w["patient_id"]: (w["count"], w["source"]["last_offset"]) for w in closed} == {
        "anna": (2, 1),
        "bela": (2, 3),
    }


@pytest.mark.parametrize(
    ("corrected", "claim", "counted", "reasons"),
    [
        (paired(("bela", SINCE, None)), {}, {"bela": 2}, []),
        (paired(("bela", SINCE, None)), {"patient_id": "anna"}, {}, [Reason.PATIENT_MISMATCH] * 2),
        (paired(("anna", SINCE, None), ("bela", SINCE, None)), {}, {}, [Reason.AMBIGUOUS_PAIRING] * 2),
        (paired(("anna", SINCE, AT_10_00_30)), {}, {"anna": 1}, [Reason.UNPAIRED]),
        ({}, {}, {}, [Reason.UNPAIRED] * 2),
    ],
    ids=["another patient", "another patient than the payload names", "two patients", "for half of the time", "nobody"],
)
def test_a_corrected_pairing_reassigns_open_readings_or_quarantines_them(
    corrected: Pairings, claim: dict[str, Any], counted: dict[str, int], reasons: list[Reason]
) -> None:
    partition = Partition(ANNA)
    partition.ingest(record(0, 20, 20, **claim), record(1, 40, 40, **claim))
    partition.kernel.learn(corrected, 2)
    closed = partition.close(100)
    assert {w["patient_id"]: w["count"] for w in windows(closed)} == counted
    assert [row.reason for row in closed.quarantined] == reasons
    assert set(reasons) <= REASONS
