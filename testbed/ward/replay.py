"""The recordings on the wall clock: the messages of each bed in order of time, recorded artefacts included."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from itertools import count, groupby

from schemas.fixed_point import to_micro
from schemas.instants import epoch_ms, from_epoch_ms, rfc3339_from_ms
from schemas.reasons import Reason
from schemas.vitals import BUILT_IN
from testbed.ward.plan import MOVE_SILENCE, Bed, Ward
from testbed.ward.recordings import Sample
from testbed.ward.sending import (
    Measured,
    Outcome,
    Sent,
    encode,
    frame,
    measurement,
    number,
    reading,
)

ARTEFACT = "artefact"
RECORDED_CONFLICT = "recorded_conflict"
RECORDED_REPEAT = "recorded_repeat"


@dataclass(frozen=True, slots=True)
class Ordinary:
    """One message of a bed as recorded, with its samples, before any anomaly is injected."""

    sent: Sent
    bed: Bed
    time_ms: int
    patient_id: str
    samples: tuple[Sample, ...]


def replay(ward: Ward, speed: float) -> Iterator[Ordinary]:
    """All beds together, endlessly: each recording loops."""
    beds = [_bed(ward, bed, 1.0 if bed.frames else speed) for bed in ward.beds]
    return heapq.merge(*beds, key=lambda ordinary: (ordinary.time_ms, ordinary.sent.key))


def _bed(ward: Ward, bed: Bed, speed: float) -> Iterator[Ordinary]:
    for time_ms, samples in _on_wall_clock(bed, epoch_ms(ward.started_at), speed):
        patient_id = _patient(ward, bed, time_ms)
        if patient_id is None:
            continue
        if bed.frames:
            yield _frame(bed, patient_id, time_ms, samples)
        else:
            for _, same in groupby(samples, key=lambda sample: sample.type):
                yield from _readings(bed, patient_id, time_ms, list(same))


def _on_wall_clock(bed: Bed, start_ms: int, speed: float) -> Iterator[tuple[int, list[Sample]]]:
    """Samples of one recorded instant with their wall time in even milliseconds; odd ones are for anomalies."""
    length_ms = bed.recording.length_ms
    grouped = [(at, list(group)) for at, group in groupby(bed.recording.samples, key=lambda s: s.offset_ms)]
    for lap in count():
        for offset_ms, samples in grouped:
            position_ms = offset_ms + lap * length_ms - bed.phase_ms
            if position_ms >= 0:
                yield start_ms + round(position_ms / speed / 2) * 2, samples


def _patient(ward: Ward, bed: Bed, time_ms: int) -> str | None:
    """The patient whom the bed's device measures at this instant; None while it is moved to another patient."""
    if bed.moves_to is None:
        return bed.patient_id
    moved_ms, silence_ms = epoch_ms(ward.moved_at), MOVE_SILENCE // timedelta(milliseconds=1)
    if abs(time_ms - moved_ms) < silence_ms:
        return None
    return bed.patient_id if time_ms < moved_ms else bed.moves_to


def _frame(bed: Bed, patient_id: str, time_ms: int, samples: list[Sample]) -> Ordinary:
    parts = [measurement(s.type, number(s.value), s.unit, time_ms) for s in samples]
    truth = tuple(Measured(patient_id, s.type, time_ms, to_micro(Fraction(s.value))) for s in samples)
    payload = encode(frame(bed.tenant_id, bed.device_id, patient_id, parts))
    outcomes: tuple[Outcome, ...] = tuple("window" for _ in samples)
    sent = Sent(from_epoch_ms(time_ms), bed.device_id, payload, bed.name, outcomes, truth)
    return Ordinary(sent, bed, time_ms, patient_id, tuple(samples))


def _readings(bed: Bed, patient_id: str, time_ms: int, same: list[Sample]) -> Iterator[Ordinary]:
    """Readings of one vital at one instant: more than one is a repeat or a contradiction in the recording itself."""
    plausible = {s.value for s in same if _in_range(s)}
    seen: set[str] = set()
    for sample in same:
        outcome, anomaly = _outcome(sample, plausible, seen)
        seen.add(sample.value)
        truth = (
            (Measured(patient_id, sample.type, time_ms, to_micro(Fraction(sample.value))),)
            if outcome == "window"
            else ()
        )
        fields = measurement(sample.type, number(sample.value), sample.unit, rfc3339_from_ms(time_ms))
        payload = encode(reading(bed.tenant_id, bed.device_id, fields))
        sent = Sent(from_epoch_ms(time_ms), bed.device_id, payload, bed.name, (outcome,), truth, anomaly)
        yield Ordinary(sent, bed, time_ms, patient_id, (sample,))


def _outcome(sample: Sample, plausible: set[str], seen: set[str]) -> tuple[Outcome, str | None]:
    if not _in_range(sample):
        return Reason.OUT_OF_RANGE, ARTEFACT
    if len(plausible) > 1:
        return Reason.CONFLICTING_DUPLICATE, RECORDED_CONFLICT
    return ("duplicate", RECORDED_REPEAT) if sample.value in seen else ("window", None)


def _in_range(sample: Sample) -> bool:
    low, high = BUILT_IN[sample.type].range
    return low <= float(sample.value) <= high
