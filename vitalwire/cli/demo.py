"""`vitalwire demo`: a live screen on a terminal, plain lines elsewhere; then a summary that accounts for every reading."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.live import Live

from schemas.config import duration_ms
from schemas.errors import Misconfigured, VitalwireError
from testbed.ward.plan import Ward
from vitalwire.cli.output import as_json_text, err, out, say
from vitalwire.cli.servers import broker_kind
from vitalwire.demo import screen
from vitalwire.demo.board import Seen
from vitalwire.demo.run import Plan, Result, run
from vitalwire.stopping import stop_requests

LINE_EVERY_S = 5.0
PROBLEMS_SHOWN = 5


class LinesStage:
    """Output that is not a terminal: a line every few seconds."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def say(self, message: str) -> None:
        """Print one step."""
        say(message)

    def show(self, ward: Ward, seen: Seen) -> None:
        """Print the ward's counts, every few seconds."""
        del ward
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + LINE_EVERY_S
            say(screen.summary_line(seen))

    def draining(self, left: Mapping[str, int]) -> None:
        """Print what is still in progress."""
        say("waiting for: " + ", ".join(f"{count} {name}" for name, count in left.items()))


class LiveStage(LinesStage):
    """A terminal: one live screen."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def show(self, ward: Ward, seen: Seen) -> None:
        """Draw the whole ward."""
        self._live.update(screen.live(ward, seen), refresh=True)


def run_demo(*, for_: str | None, report: Path | None, broker: str, beds: int, seed: int) -> int:
    """Run the demo; 0 only if the report balances and the EHR agrees."""
    kind, duration_s = broker_kind(broker), _seconds(for_)
    kept = Path(tempfile.mkdtemp(prefix="vitalwire-demo-"))
    plan = Plan(duration_s, kind, beds, seed, kept)
    with stop_requests() as stop:
        if out.is_terminal:
            with Live(console=out, auto_refresh=False, transient=False) as live:
                result = run(plan, LiveStage(live), stop)
        else:
            result = run(plan, LinesStage(), stop)
    _report(result)
    if report is not None:
        _write(report, result)
    err.print(f"Configuration, logs and ledger of this demo are in {kept}", style="dim")
    return 0 if result.good else 1


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        milliseconds = duration_ms(text)
    except ValueError as error:
        raise Misconfigured(f"--for: {error}") from None
    assert isinstance(milliseconds, int)
    return milliseconds / 1000


def _report(result: Result) -> None:
    out.print(screen.anomalies(result.anomalies))
    report, agreement = result.report, result.agreement
    say(
        f"{report.readings} readings = {report.in_windows} in {report.windows} windows + {report.duplicates} duplicates + "
        f"{report.quarantined_readings} quarantined + {report.late} late + {report.in_open_windows} in open windows"
    )
    say(
        f"{report.windows} windows = {report.windows_not_published} not published + {report.quarantined_windows} "
        f"quarantined + {report.windows_in_intents} in {report.intents} intents; {report.charted} charted"
    )
    waiting = {"held for review": report.held, "failed": report.failed, "quarantined": report.operations_quarantined}
    if any(waiting.values()):
        say("not charted: " + ", ".join(f"{count} {what}" for what, count in waiting.items() if count))
    for explanation in report.explanations:
        say(f"  {explanation}")
    say(f"The report {'balances' if report.balanced else 'does NOT balance'}.")
    say(
        f"The EHR holds {agreement.observations} Observations; {agreement.right} have the expected patient, vital, time "
        f"and value, recomputed from the readings as sent."
    )
    for problem in [*result.window_problems, *agreement.problems][:PROBLEMS_SHOWN]:
        say(f"  {problem}")


def _write(report: Path, result: Result) -> None:
    try:
        report.write_text(as_json_text(result.report.model_dump(mode="json")), encoding="utf-8")
    except OSError:
        raise VitalwireError(f"The report cannot be written to {report}.") from None
