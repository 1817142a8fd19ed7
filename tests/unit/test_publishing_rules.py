"""Publishing as a table: the windows of one vital in their order, and why each of them is charted, or that it is not."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.config import Publish
from streams.telemetry.publishing import Published, decide, remember

MINUTE_MS = 60_000
SCHEDULE, CHANGE, THRESHOLD = "schedule", "change", "threshold"

Windows = list[tuple[int, float, str | None]]
"""(minute in which the window starts, its statistic, cause)."""

RULES: list[tuple[str, dict[str, Any], Windows]] = [
    ("no policy: every window", {}, [(0, 60, SCHEDULE), (1, 60, SCHEDULE), (2, 60, SCHEDULE)]),
    (
        "every 15 min: the first window of each quarter",
        {"every": "15m"},
        [(14, 60, SCHEDULE), (15, 60, SCHEDULE), (16, 90, None), (29, 60, None), (47, 60, SCHEDULE)],
    ),
    (
        "outside: the first window beyond the limits, and the first one back",
        {"outside": [50, 120]},
        [
            (0, 60, None),
            (1, 50, None),
            (2, 49, THRESHOLD),
            (3, 40, None),
            (4, 121, None),
            (5, 120, THRESHOLD),
            (6, 60, None),
        ],
    ),
    ("outside: a first window beyond the limits", {"outside": [50, 120]}, [(0, 130, THRESHOLD), (1, 130, None)]),
    (
        "change: compared with the window that was published last",
        {"change": 20},
        [(0, 60, CHANGE), (1, 79, None), (2, 80, CHANGE), (3, 61, None), (4, 60, CHANGE)],
    ),
    (
        "threshold before change before schedule",
        {"every": "15m", "outside": [50, 120], "change": 20},
        [(0, 130, THRESHOLD), (1, 60, THRESHOLD), (15, 90, CHANGE), (16, 90, None), (30, 90, SCHEDULE)],
    ),
    (
        "a window published for another cause counts as that quarter's",
        {"every": "15m", "change": 20},
        [(0, 60, CHANGE), (14, 85, CHANGE), (15, 85, SCHEDULE), (29, 60, CHANGE), (30, 60, SCHEDULE)],
    ),
]


def causes(policy: dict[str, Any], windows: list[tuple[str, int, float]]) -> list[str | None]:
    configured = Publish.model_validate(policy)
    found: list[str | None] = []
    last: Published | None = None
    for patient_id, minute, value in windows:
        cause = decide(configured, last, patient_id, minute * MINUTE_MS, value)
        last = remember(configured, last, patient_id, minute * MINUTE_MS, value, cause is not None)
        found.append(cause)
    return found


@pytest.mark.parametrize(("policy", "windows"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_each_window_is_published_for_the_cause_of_its_rule(policy: dict[str, Any], windows: Windows) -> None:
    given = [("anna", minute, value) for minute, value, _ in windows]
    assert causes(policy, given) == [cause for _, _, cause in windows]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, [SCHEDULE, SCHEDULE, SCHEDULE]),
        ({"every": "15m"}, [SCHEDULE, SCHEDULE, SCHEDULE]),
        ({"change": 20}, [CHANGE, CHANGE, CHANGE]),
        ({"outside": [50, 120]}, [None, None, None]),
        ({"outside": [50, 55]}, [THRESHOLD, THRESHOLD, THRESHOLD]),
    ],
    ids=str,
)
def test_nothing_is_remembered_when_the_device_goes_to_another_patient(
    policy: dict[str, Any], expected: list[str]
) -> None:
    assert causes(policy, [("anna", 0, 60), ("bela", 1, 60), ("anna", 2, 60)]) == expected
