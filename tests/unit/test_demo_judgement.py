"""How the demo judges itself: outcomes by position in the log, and Observations recomputed from the readings as sent."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
import yaml
from rich.console import Console

from schemas.config import Config
from schemas.operation import State
from schemas.reading import QuarantineRecord, SourceRecord
from schemas.reasons import Reason
from testbed.ward.plan import admit
from testbed.ward.sending import Measured, Outcome, Sent
from vitalwire.demo import screen
from vitalwire.demo.agreement import compare, statistic_micro, truth_of
from vitalwire.demo.board import Board
from vitalwire.demo.configuration import text
from vitalwire.demo.outcomes import ORDINARY, LogPosition, all_as_expected, anomaly_outcomes

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
START_MS = 1_767_607_200_000
CONFIG = Config.model_validate(
    yaml.safe_load(text({"north": "north-epic"}, {"north-epic": {"kind": "epic", "base_url": "http://127.0.0.1:1"}}))
)
SUBJECTS = {"e-1": "p-1", "e-2": "p-2"}


def _sent(*outcomes: Outcome, anomaly: str | None = None, truth: tuple[Measured, ...] = ()) -> Sent:
    return Sent(START, "mon-1", b"{}", "bed 01", outcomes, truth, anomaly)


def _quarantined(position: LogPosition, reason: Reason | str, index: int = 0) -> QuarantineRecord:
    source = SourceRecord(topic="telemetry.readings", partition=position.partition, offset=position.offset, index=index)
    return QuarantineRecord.model_validate({"reason": reason, "source": source, "arrived": 0, "reading": {}})


def _heart_rate(patient: str, at_ms: int, value: int) -> Measured:
    return Measured(patient, "heart_rate", START_MS + at_ms, value * 1_000_000)


def _observation(subject: str, value: float, end: str = "2026-01-05T10:00:05Z", code: str = "8867-4") -> dict[str, Any]:
    return {
        "id": "1",
        "subject": {"reference": f"Patient/{subject}"},
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "effectiveDateTime": end,
        "valueQuantity": {"value": value, "code": "/min"},
    }


TRUTH = truth_of([_heart_rate("p-1", 0, 70), _heart_rate("p-1", 1000, 73), _heart_rate("p-2", 0, 90)], CONFIG)


def test_a_measurement_refused_for_the_expected_reason_is_as_expected() -> None:
    position = LogPosition(0, 7)
    rows = anomaly_outcomes(
        {position: _sent("window", Reason.UNIT_MISMATCH, anomaly="bad_in_frame")},
        [_quarantined(position, "unit_mismatch", 1)],
    )
    assert [(row.expected, row.as_expected) for row in rows] == [("unit_mismatch", 1), ("window", 1)]
    assert all_as_expected(rows)


@pytest.mark.parametrize("reason", [Reason.OUT_OF_RANGE, "late"])
def test_a_measurement_refused_for_an_unexpected_reason_is_reported(reason: Reason | str) -> None:
    position = LogPosition(0, 7)
    rows = anomaly_outcomes(
        {position: _sent(Reason.UNPAIRED, anomaly="unpaired_device")}, [_quarantined(position, reason)]
    )
    assert rows[0].otherwise == (f"1 {reason}",)
    assert not all_as_expected(rows)


def test_an_ordinary_reading_that_was_refused_is_reported() -> None:
    position = LogPosition(1, 0)
    rows = anomaly_outcomes({position: _sent("window")}, [_quarantined(position, Reason.UNPAIRED)])
    assert rows[0].anomaly == ORDINARY
    assert not all_as_expected(rows)


def test_an_anomaly_that_was_not_refused_is_reported() -> None:
    assert not all_as_expected(anomaly_outcomes({LogPosition(0, 0): _sent(Reason.MALFORMED, anomaly="cut_off")}, []))


def test_a_refused_reading_that_the_simulator_never_sent_is_reported() -> None:
    rows = anomaly_outcomes({}, [_quarantined(LogPosition(3, 9), Reason.MALFORMED)])
    assert not all_as_expected(rows)


def test_an_observation_with_the_statistic_of_its_patients_readings_agrees() -> None:
    agreement = compare([_observation("e-1", 71.5), _observation("e-2", 90)], SUBJECTS, TRUTH, CONFIG, 2)
    assert agreement.complete
    assert agreement.right == 2


@pytest.mark.parametrize(
    "wrong",
    [
        _observation("e-2", 71.5),
        _observation("e-1", 90),
        _observation("e-3", 71.5),
        _observation("e-1", 71.5, end="2026-01-05T10:00:10Z"),
        _observation("e-1", 71.5, code="9279-1"),
        _observation("e-1", 71.5, code="0000-0"),
        _observation("e-1", 71.500001),
    ],
    ids=["other patient", "other patient's value", "stranger", "other time", "other vital", "no vital", "value"],
)
def test_an_observation_that_is_wrong_in_one_thing_does_not_agree(wrong: dict[str, Any]) -> None:
    agreement = compare([wrong], SUBJECTS, TRUTH, CONFIG, 1)
    assert not agreement.complete
    assert agreement.right == 0


def test_a_second_observation_of_the_same_span_does_not_agree() -> None:
    twice = [_observation("e-1", 71.5), _observation("e-1", 71.5)]
    assert not compare(twice, SUBJECTS, TRUTH, CONFIG, 2).complete


def test_an_observation_missing_at_the_ehr_does_not_agree() -> None:
    assert not compare([_observation("e-1", 71.5)], SUBJECTS, TRUTH, CONFIG, 2).complete


def test_both_halves_of_a_blood_pressure_are_compared() -> None:
    truth = truth_of(
        [
            Measured("p-1", "systolic_bp", START_MS, 120_000_000),
            Measured("p-1", "diastolic_bp", START_MS, 80_000_000),
        ],
        CONFIG,
    )
    panel = _observation("e-1", 0, code="85354-9")
    del panel["valueQuantity"]
    halves = {"8480-6": 120, "8462-4": 80}
    panel["component"] = [
        {"code": {"coding": [{"code": code}]}, "valueQuantity": {"value": value}} for code, value in halves.items()
    ]
    assert compare([panel], SUBJECTS, truth, CONFIG, 1).complete
    panel["component"][1]["valueQuantity"]["value"] = 120
    assert not compare([panel], SUBJECTS, truth, CONFIG, 1).complete


@pytest.mark.parametrize(
    ("statistic", "expected"), [("median", 81), ("mean", 83), ("min", 70), ("max", 100), ("first", 100), ("last", 80)]
)
def test_every_statistic_is_recomputed(statistic: str, expected: int) -> None:
    members = [_heart_rate("p-1", at, value) for at, value in ((0, 100), (1, 70), (2, 82), (3, 80))]
    vital = CONFIG.vitals["heart_rate"].model_copy(update={"statistic": statistic})
    assert statistic_micro(members, vital) == expected * 1_000_000


def test_the_screen_shows_beds_values_reasons_and_the_ledger() -> None:
    ward = admit(seed=1, started_at=START, beds=2)
    board = Board()
    board.delivered(LogPosition(0, 0), _sent("window", truth=(_heart_rate("p-01", 0, 72),)))
    board.quarantined(_quarantined(LogPosition(0, 1), Reason.UNPAIRED))
    board.ledger({"north-epic": {State.SUCCEEDED: 3}})
    drawn = Console(file=StringIO(), width=160)
    drawn.print(screen.live(ward, board.seen()))
    shown = drawn.file.getvalue()  # type: ignore[attr-defined]
    for expected in ("bed 01", "p-moved-to", "72", "unpaired", "No patient was paired", "3 succeeded"):
        assert expected in shown


def test_every_reason_and_every_anomaly_can_be_explained_on_the_screen() -> None:
    assert {str(reason) for reason in Reason} <= set(screen.WHY)
    assert "late" in screen.WHY
