"""One demo from the first process to the last comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, Literal, Protocol

import httpx
import orjson

from schemas.errors import VitalwireError
from schemas.ports.kafka import Outgoing
from schemas.report import ReconciliationReport
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS
from testbed.brokers import Kind
from testbed.ward.plan import Ward, admit
from testbed.ward.script import Pace, script
from vitalwire.demo import parts
from vitalwire.demo.agreement import Agreement, compare, truth_of, window_problems
from vitalwire.demo.board import Board, Seen
from vitalwire.demo.configuration import GRACE_S, WINDOW_S
from vitalwire.demo.outcomes import AnomalyOutcome, all_as_expected, anomaly_outcomes
from vitalwire.demo.parts import Parts
from vitalwire.demo.player import Player
from vitalwire.demo.watcher import Watcher
from vitalwire.reconcile import reconciled

TICK_S = 0.25
DRAIN_EVERY_S = 1.0
DRAIN_WITHIN_S = 90.0
OPENS_AFTER = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """The demo's options: duration (None: until SIGTERM or Ctrl-C), broker, number of beds, seed, directory of its files."""

    duration_s: float | None
    broker: Kind | Literal["auto"]
    beds: int
    seed: int
    directory: Path


@dataclass(frozen=True, slots=True)
class Result:
    """The demo's result, for the summary and the exit code."""

    report: ReconciliationReport
    anomalies: Sequence[AnomalyOutcome]
    window_problems: Sequence[str]
    agreement: Agreement
    seen: Seen

    @property
    def good(self) -> bool:
        """Whether the report balances, every anomaly had its expected outcome, and the EHR holds the expected results."""
        settled = not (self.report.pending or self.report.unknown or self.report.in_open_windows or self.report.unread)
        agreed = all_as_expected(self.anomalies) and not self.window_problems and self.agreement.complete
        return self.report.balanced and settled and agreed


class Stage(Protocol):
    """Displays the demo's progress."""

    def say(self, message: str) -> None:
        """Report one step of starting or stopping."""
        ...

    def show(self, ward: Ward, seen: Seen) -> None:
        """Show the ward; called a few times a second."""
        ...

    def draining(self, left: Mapping[str, int]) -> None:
        """Show what is still in progress, by name."""
        ...


def run(plan: Plan, stage: Stage, stop: Event) -> Result:
    """Start all parts, play the ward, drain, reconcile, compare with the EHR, and stop all parts."""
    ward = admit(seed=plan.seed, started_at=datetime.now(UTC), beds=plan.beds)
    with parts.start(ward, plan.broker, plan.directory, stage.say) as running:
        # the ward opens once all parts run; its pairings began long before
        ward = admit(seed=plan.seed, started_at=_whole_ms(datetime.now(UTC) + OPENS_AFTER), beds=plan.beds)
        board = Board()
        settings = running.settings
        player = Player(settings.bootstrap_servers(), settings.topic_prefix, board.delivered)
        watcher = Watcher(settings.bootstrap_servers(), settings.topic_prefix, running.ledger, board)
        player.publish(_reference_data(ward))
        watcher.start()
        try:
            stage.say("the ward opens: devices send readings")
            player.play(script(ward, Pace(window_s=WINDOW_S, grace_s=GRACE_S), plan.duration_s))
            _until_over(player, running, lambda: stage.show(ward, board.seen()), stop)
            player.stop()
            report = _drained(running, stage)
        finally:
            player.stop()
            watcher.stop()
        return _result(ward, running, board, report)


def _until_over(player: Player, running: Parts, show: Callable[[], None], stop: Event) -> None:
    while not (player.over or stop.wait(TICK_S)):
        show()
        _all_run(running)


def _all_run(running: Parts) -> None:
    for worker in running.workers.values():
        if not worker.is_running():
            raise VitalwireError(f"{worker.name} ended unexpectedly. See its log: {worker.log_file}")


def _drained(running: Parts, stage: Stage) -> ReconciliationReport:
    """Reconcile until nothing is in progress, or the deadline passes."""
    deadline = time.monotonic() + DRAIN_WITHIN_S
    while True:
        report = reconciled(running.settings, running.ledger)
        left = {
            "unread": report.unread,
            "in open windows": report.in_open_windows,
            "windows without intent": report.windows - _accounted(report),
            "to be written": report.pending + report.deferred,
            "unknown": report.unknown,
        }
        in_progress = {name: count for name, count in left.items() if count}
        if not in_progress or time.monotonic() > deadline:
            return report
        _all_run(running)
        stage.draining(in_progress)
        time.sleep(DRAIN_EVERY_S)


def _accounted(report: ReconciliationReport) -> int:
    return report.windows_not_published + report.quarantined_windows + report.windows_in_intents


def _result(ward: Ward, running: Parts, board: Board, report: ReconciliationReport) -> Result:
    patients = {subject: patient for patient, subject in ward.subject_ids().items() if patient in _consented(ward)}
    truth = truth_of(board.truth(), running.config)
    return Result(
        report,
        anomaly_outcomes(board.everything_sent(), board.quarantine_records()),
        window_problems(board.every_window(), truth, running.config),
        compare(_held(running.ehr.origin), patients, truth, running.config, report.charted),
        board.seen(),
    )


def _consented(ward: Ward) -> set[str]:
    return {consent.patient_id for consent in ward.consents()}


def _held(origin: str) -> list[dict[str, Any]]:
    """Every Observation the EHR holds, by its own API."""
    answer = httpx.get(f"{origin}/__sandbox/resources", params={"type": "Observation"}, timeout=30.0)
    answer.raise_for_status()
    return [orjson.loads(line) for line in answer.content.splitlines() if line]


def _reference_data(ward: Ward) -> list[Outgoing]:
    """Pairings, patients and consents as records of their topics."""
    pairings = [(PAIRINGS, pairing.device_id, pairing) for pairing in ward.pairings()]
    patients = [(PATIENTS, patient.patient_id, patient) for patient in ward.patients()]
    consents = [(CONSENTS, consent.patient_id, consent) for consent in ward.consents()]
    return [
        Outgoing(topic, f"{ward.tenant_id}|{name}".encode(), record.model_dump_json(by_alias=True).encode())
        for topic, name, record in (*pairings, *patients, *consents)
    ]


def _whole_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 2000 * 2000)
