"""Which windows form one result, what the result is called, and the value that is charted.

A result is one window, or the windows of a panel (systolic and diastolic) over the same span. The charted value is the
vital's configured statistic, unrounded: exact to a millionth of the canonical unit.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.config import Config, Vital
from schemas.errors import Rejected
from schemas.fixed_point import to_json_number, to_micro
from schemas.reasons import Reason
from schemas.vitals import PANELS
from schemas.window import Window


def result_members(config: Config, windows: Sequence[Window]) -> list[Window]:
    """The windows of one result in the panel's order, systolic first. Rejected if they do not belong together."""
    if not windows:
        raise Rejected(Reason.MALFORMED, "a result has at least one window")
    for window in windows:
        _check_type(config, window)
    if len({(w.tenant_id, w.patient_id, w.device_id, w.start, w.end) for w in windows}) != 1:
        raise Rejected(Reason.MALFORMED, "windows of one result share tenant, patient, device, start and end")
    members = PANELS.get(config.vital_type(windows[0].type).panel or "", (windows[0].type,))
    by_type = {window.type: window for window in windows}
    if len(by_type) != len(windows) or not by_type.keys() <= set(members):
        raise Rejected(Reason.MALFORMED, "windows of one result are of one vital, or one each of a panel's members")
    return [by_type[member] for member in members if member in by_type]


def _check_type(config: Config, window: Window) -> None:
    if window.type not in config.vitals:
        raise Rejected(Reason.UNKNOWN_TYPE)
    if window.unit != config.vital_type(window.type).unit:
        raise Rejected(Reason.UNIT_MISMATCH, "the window is not in the vital's canonical unit")


def result_name(config: Config, window: Window) -> str:
    """The name of the vital, or of its panel: what consent and the chart call the result."""
    return config.vital_type(window.type).panel or window.type


def charted_value(window: Window, vital: Vital) -> int | float:
    """The configured statistic of the window, as a JSON number."""
    statistic: float = getattr(window, vital.statistic)
    return to_json_number(to_micro(statistic))
