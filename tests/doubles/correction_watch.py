"""A correction watch over charted results and records that a test corrects; the test also holds its time."""

from datetime import timedelta

from adapters.metrics import PrometheusObserver
from schemas.correction import Correction
from schemas.operation import Outcome, Source, State
from schemas.reference import PairingInterval
from streams.delivery.correction_watch import CorrectionWatch
from tests.doubles.ledgers import intent
from tests.doubles.memory_ledger import MemoryLedger
from tests.doubles.ports import StaticReference, fixed_clock

START = fixed_clock().replace(minute=0, second=0)
LEASE_S = 300.0


class CorrectionHarness:
    """Charted results, records that are corrected, and a watch whose time a test holds."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.reference = StaticReference()
        self.observer = PrometheusObserver()
        self.elapsed_s = 0.0
        self.reference.admit("p", north="a")
        self.pair("p")
        self.watch = self.another_worker()

    def another_worker(self) -> CorrectionWatch:
        return CorrectionWatch(self.reference, self.ledger, self.observer, fixed_clock, LEASE_S, lambda: self.elapsed_s)

    def pair(self, patient: str, *, at_minute: int = 0, before: str | None = None) -> None:
        """The device is this patient's from a minute on; before that another's."""
        since = START + timedelta(minutes=at_minute)
        spans = [PairingInterval(patient_id=patient, since=since)]
        if before is not None:
            spans.append(PairingInterval(patient_id=before, since=START - timedelta(days=9), until=since))
        self.reference.pair("mon-1", *spans)

    def close(self) -> None:
        """Nobody can read the device's record."""
        self.reference.closed.add(("north", "mon-1"))
        self.reference.changes += 1

    def open(self) -> None:
        """It can be read again."""
        self.reference.closed.clear()
        self.reference.changes += 1

    def call(self, subject_id: str) -> None:
        self.reference.admit("p", north=subject_id)
        self.reference.changes += 1

    def chart(self, minute: int = 0, subject_id: str = "a", state: State = State.SUCCEEDED, **differs: object) -> str:
        first = START + timedelta(minutes=minute)
        source = Source(
            event_id=f"w{minute}", part_ids=[f"w{minute}"], device_id="mon-1", first_time=first,
            last_time=first + timedelta(seconds=59),
        )  # fmt: skip
        charted = intent(
            f"w{minute}", endpoint="north", subject_id=subject_id, source=source, **{"patient": "p"} | differs
        )
        (recorded,) = self.ledger.record([charted])
        (claimed,) = self.ledger.claim("north", 1, 60)
        self.ledger.settle({claimed.operation_id: Outcome(state=state, fence=claimed.fence, resource_id=f"o{minute}")})
        return recorded.operation_id

    def listed(self) -> list[Correction]:
        return [Correction.model_validate_json(record.value or b"") for record in self.ledger.records]

    def ids(self) -> list[str]:
        return [one.operation_id for one in self.listed()]
