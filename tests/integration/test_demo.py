"""The demo as a user runs it, on the embedded broker: it ends by itself, balances, and agrees with the EHR."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.report import ReconciliationReport

ENDS_WITHIN_S = 240


def _start(*arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VITALWIRE_")}
    command = [sys.executable, "-m", "vitalwire", "demo", "--broker", "embedded", "--beds", "4", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _processes_of(directory: str) -> list[str]:
    """Processes that work in this directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            about = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if directory.encode() in about:
            found.append(process.name)
    return found


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str, ReconciliationReport]:
    report = tmp_path_factory.mktemp("demo") / "r.json"
    demo = _start("--for", "15s", "--report", str(report))
    out, err = demo.communicate(timeout=ENDS_WITHIN_S)
    assert report.exists(), out + err
    return demo.returncode, out, err, ReconciliationReport.model_validate(json.loads(report.read_text()))


def test_the_demo_ends_with_0_when_its_report_balances_and_the_ehr_agrees(
    ended: tuple[int, str, str, ReconciliationReport],
) -> None:
    code, out, err, report = ended
    assert report.balanced, out + err
    assert code == 0, out + err


def test_every_reading_and_every_window_of_the_demo_is_accounted_for(
    ended: tuple[int, str, str, ReconciliationReport],
) -> None:
    report = ended[3]
    found = report.duplicates + report.quarantined_readings + report.late + report.in_windows + report.in_open_windows
    assert report.readings == found
    placed = report.windows_not_published + report.quarantined_windows + report.windows_in_intents
    assert report.windows == placed
    assert report.unread == report.in_open_windows == report.pending == report.unknown == 0


def test_the_demo_charts_results_and_quarantines_the_private_and_the_unknown_patient(
    ended: tuple[int, str, str, ReconciliationReport],
) -> None:
    report = ended[3]
    assert report.charted > 0
    assert report.quarantined["no_consent"] > 0
    assert report.quarantined["unknown_patient"] > 0


def test_what_the_ehr_holds_is_what_was_charted(ended: tuple[int, str, str, ReconciliationReport]) -> None:
    _, out, _, report = ended
    held = re.search(r"The EHR holds (\d+) Observations; (\d+) have the expected patient", out)
    assert held is not None, out
    assert int(held[1]) == int(held[2]) == report.charted


def test_every_injected_anomaly_is_explained(ended: tuple[int, str, str, ReconciliationReport]) -> None:
    for anomaly in ("duplicate", "unpaired_device", "two_patients", "clock_ahead", "no_time_zone", "late"):
        assert anomaly in ended[1]


def test_nothing_of_the_demo_runs_on_after_it(ended: tuple[int, str, str, ReconciliationReport]) -> None:
    directory = re.search(r"vitalwire-demo-\w+", ended[2])
    assert directory is not None, ended[2]
    assert _processes_of(directory[0]) == []


def test_ctrl_c_ends_the_demo_in_order_with_a_report(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    demo = _start("--report", str(report))
    assert demo.stdout is not None
    for line in demo.stdout:
        if "succeeded" in line:
            break
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=ENDS_WITHIN_S)
    assert json.loads(report.read_text())["balanced"] is True, out + err
    assert demo.returncode == 0, out + err
