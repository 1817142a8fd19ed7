"""The demo on the screen: the ward bed by bed, charted results, quarantined readings by reason, and the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from schemas.fixed_point import MICRO
from schemas.reasons import EXPLANATIONS, LATE
from testbed.ward.anomalies import ANOMALIES
from testbed.ward.plan import Bed, Ward
from testbed.ward.replay import ARTEFACT, RECORDED_CONFLICT, RECORDED_REPEAT
from vitalwire.demo.board import Seen
from vitalwire.demo.outcomes import ORDINARY, AnomalyOutcome

VITALS = (
    ("HR", "heart_rate"),
    ("RR", "respiratory_rate"),
    ("SpO₂", "spo2"),
    ("Temp", "body_temperature"),
    ("sys", "systolic_bp"),
    ("dia", "diastolic_bp"),
)
WHY = {str(reason): sentence for reason, sentence in EXPLANATIONS.items()} | {
    LATE: "Its window had closed. Published to vitals.late and not counted."
}
ABOUT = {anomaly.name: anomaly.about for anomaly in ANOMALIES} | {
    ORDINARY: "readings without an anomaly",
    ARTEFACT: "artefacts in the recording, e.g. a temperature of -17.8 °C",
    RECORDED_CONFLICT: "two values for one instant in the recording itself",
    RECORDED_REPEAT: "a value twice in the recording itself",
}


def live(ward: Ward, seen: Seen) -> RenderableType:
    """The whole screen."""
    return Group(_ward(ward, seen), Text(summary_line(seen)), _quarantine(seen))


def summary_line(seen: Seen) -> str:
    """One line with every count, for output that is not a terminal."""
    states = ", ".join(f"{n} {s}" for counts in seen.states.values() for s, n in sorted(counts.items()) if n)
    quarantined = sum(n for name, n in seen.quarantine.items() if name != LATE)
    return (
        f"sent {seen.measurements} measurements ({seen.anomalies} anomalies) · {seen.windows} windows · "
        f"{seen.duplicates} duplicates · {quarantined} quarantined · {seen.quarantine[LATE]} late · "
        f"ledger: {states or 'empty'}"
    )


def anomalies(rows: Sequence[AnomalyOutcome]) -> RenderableType:
    """The outcome of each anomaly beside the expected one."""
    drawn = Table(title="Outcome of every measurement", title_justify="left")
    drawn.add_column("anomaly", no_wrap=True)
    drawn.add_column("description")
    drawn.add_column("expected", no_wrap=True)
    for name in ("sent", "as expected", "otherwise"):
        drawn.add_column(name)
    for row in rows:
        style = "" if row.sent == row.as_expected and not row.otherwise else "bold red"
        cells = (
            row.anomaly,
            ABOUT.get(row.anomaly, ""),
            row.expected,
            row.sent,
            row.as_expected,
            ", ".join(row.otherwise),
        )
        drawn.add_row(*(Text(str(cell)) for cell in cells), style=style)
    return drawn


def _ward(ward: Ward, seen: Seen) -> Table:
    drawn = Table("bed", "patient", *(name for name, _ in VITALS), "to the chart", "", title_justify="left")
    drawn.title = f"Ward {ward.tenant_id}: latest reading (latest window published for the chart)"
    for bed in ward.beds:
        for patient in bed.patients:
            drawn.add_row(*_row(bed, patient, seen))
    return drawn


def _row(bed: Bed, patient: str, seen: Seen) -> Iterable[str]:
    latest, charted = seen.latest.get(patient, {}), seen.charted.get(patient, {})
    yield bed.name
    yield patient
    for _, vital in VITALS:
        now, window = latest.get(vital), charted.get(vital)
        yield "" if now is None else f"{_short(now)}" + ("" if window is None else f" ({_short(window)})")
    yield f"{seen.published[patient]} windows"
    yield bed.about


def _quarantine(seen: Seen) -> Table:
    drawn = Table("reason", "readings", "explanation", title="Kept out of the chart", title_justify="left")
    for name, count in sorted(seen.quarantine.items()):
        drawn.add_row(name, str(count), WHY.get(name.removesuffix(" (window)"), ""))
    return drawn


def _short(micro: int) -> str:
    return f"{micro / MICRO:.4g}"
