"""Example windows to render a template with: every configured vital, and blood pressure complete and with one half only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from schemas.config import Config
from schemas.vitals import PANELS
from schemas.window import Window, WindowSource

SUBJECT_ID = "example"
_END = datetime(2026, 1, 5, 10, 1, tzinfo=UTC)


def examples(config: Config) -> Iterator[tuple[str, list[Window]]]:
    """Every example: its name and its windows."""
    for name in config.vitals:
        if config.vital_type(name).panel is None:
            yield name, [example_window(config, name)]
    for panel, members in PANELS.items():
        windows = [example_window(config, member) for member in members]
        yield panel, windows
        for present in windows:
            yield f"{panel} with {present.type} only", [present]


def example_window(config: Config, name: str) -> Window:
    """A window in the middle of the vital's range. No two statistics are equal, so that none can be mistaken for another."""
    vital = config.vitals[name]
    low, high = vital.range
    step = (high - low) / 1000
    middle = round((low + high) / 2, 2)
    value = {
        key: round(middle + number * step, 4)
        for number, key in enumerate(("min", "first", "median", "mean", "last", "max"))
    }
    return Window(
        window_id=f"{sum(name.encode()):064x}",
        content_hash="0" * 64,
        tenant_id="example",
        patient_id="example",
        device_id="example-monitor",
        type=name,
        unit=config.vital_type(name).unit,
        start=_END - timedelta(milliseconds=vital.window),
        end=_END,
        count=58,
        publish=True,
        cause="schedule",
        source=WindowSource(topic="telemetry.readings", partition=0, first_offset=0, last_offset=57),
        **value,
    )
