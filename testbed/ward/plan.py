"""The ward's plan and its reference data: beds, patients, device pairings, consents."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.reference import Consent, Pairing, PairingInterval, PatientRecord, Provision
from testbed.ward.recordings import Recording, icu_stays, monitor_stream

PAIRED_BEFORE = timedelta(days=60)
MOVED_AFTER = timedelta(seconds=6)
MOVE_SILENCE = timedelta(seconds=3)
"""The monitor that changes patients sends nothing this long before and after the change."""

LOOSE_DEVICE = "mon-loose"
TWICE_DEVICE = "mon-twice"
MOVED_DEVICE = "mon-moved"
STREAM_DEVICE = "mon-stream"


@dataclass(frozen=True, slots=True)
class Bed:
    """One bed: its device, its patient, the recording replayed there, and the offset at which the replay begins."""

    name: str
    tenant_id: str
    device_id: str
    patient_id: str
    recording: Recording
    phase_ms: int
    about: str = ""
    consented: bool = True
    known_to_ehr: bool = True
    frames: bool = False
    plain: bool = True
    moves_to: str | None = None

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient whom this bed's device measures during the demo."""
        return (self.patient_id, self.moves_to) if self.moves_to else (self.patient_id,)


@dataclass(frozen=True, slots=True)
class Ward:
    """A ward at one hospital, ready to be replayed from `started_at`."""

    tenant_id: str
    endpoint: str
    started_at: datetime
    seed: int
    beds: tuple[Bed, ...]

    @property
    def moved_at(self) -> datetime:
        """When the moved monitor gets its new pairing."""
        return self.started_at + MOVED_AFTER

    def subject_ids(self) -> dict[str, str]:
        """Patient → FHIR Patient id, for patients known to the EHR."""
        return {
            patient: f"e{self.tenant_id}-{patient}" for bed in self.beds if bed.known_to_ehr for patient in bed.patients
        }

    def patients(self) -> list[PatientRecord]:
        """The ward's records for `reference.patients`; the one unknown to the EHR has no subject id."""
        known = self.subject_ids()
        return [
            PatientRecord(
                tenant_id=self.tenant_id,
                patient_id=patient,
                subject_ids={self.endpoint: known[patient]} if patient in known else {},
            )
            for bed in self.beds
            for patient in bed.patients
        ]

    def consents(self) -> list[Consent]:
        """The ward's records for `reference.consents`; patients who did not consent have none."""
        return [
            Consent.model_validate(
                {
                    "tenant_id": self.tenant_id,
                    "patient_id": patient,
                    "status": "active",
                    "from": self.started_at - PAIRED_BEFORE,
                    "permits": [Provision(purpose="vitals")],
                }
            )
            for bed in self.beds
            if bed.consented
            for patient in bed.patients
        ]

    def pairings(self) -> list[Pairing]:
        """The ward's records for `reference.pairings` when it opens."""
        since = self.started_at - PAIRED_BEFORE
        own = [self._pairing(bed.device_id, (bed.patient_id, since, None)) for bed in self.beds]
        first, second = self.beds[0].patient_id, self.beds[1].patient_id
        twice = self._pairing(TWICE_DEVICE, (first, since, None), (second, since, None))
        return [*own, twice]

    def moved_pairing(self) -> Pairing:
        """The pairing published during the demo: the same monitor, now at another patient."""
        bed = next(bed for bed in self.beds if bed.moves_to)
        since = self.started_at - PAIRED_BEFORE
        return self._pairing(
            bed.device_id, (bed.patient_id, since, self.moved_at), (bed.patients[1], self.moved_at, None)
        )

    def _pairing(self, device_id: str, *spans: tuple[str, datetime, datetime | None]) -> Pairing:
        intervals = [
            PairingInterval.model_validate({"patient_id": patient, "from": since, "until": until})
            for patient, since, until in spans
        ]
        return Pairing(tenant_id=self.tenant_id, device_id=device_id, intervals=intervals)


def admit(
    *, seed: int, started_at: datetime, beds: int = 8, tenant_id: str = "north", endpoint: str = "north-epic"
) -> Ward:
    """A ward of `beds` ordinary beds, one bed with a streaming monitor, and three special cases."""
    choice = random.Random(f"{seed}/{tenant_id}")  # noqa: S311 (which recordings are replayed is no secret)
    stays = choice.sample(icu_stays(), beds + 3)
    phases = [choice.randrange(stay.length_ms) for stay in stays]
    ordinary = [
        Bed(f"bed {n:02}", tenant_id, f"mon-{n:02}", f"p-{n:02}", stay, phase)
        for n, (stay, phase) in enumerate(zip(stays[:beds], phases[:beds], strict=True), start=1)
    ]
    special = [
        Bed("stream", tenant_id, STREAM_DEVICE, "p-stream", monitor_stream(), 0, "streams every second", frames=True),
        _special("moved", MOVED_DEVICE, "p-moved-from", stays[-3], phases[-3], tenant_id, moves_to="p-moved-to"),
        _special("private", "mon-private", "p-private", stays[-2], phases[-2], tenant_id, consented=False),
        _special("elsewhere", "mon-else", "p-else", stays[-1], phases[-1], tenant_id, known_to_ehr=False),
    ]
    return Ward(tenant_id, endpoint, started_at, seed, (*ordinary, *special))


def _special(  # noqa: PLR0913 (the three special beds differ in one thing each)
    name: str,
    device_id: str,
    patient_id: str,
    stay: Recording,
    phase_ms: int,
    tenant_id: str,
    *,
    consented: bool = True,
    known_to_ehr: bool = True,
    moves_to: str | None = None,
) -> Bed:
    about = "without consent" if not consented else "unknown at the EHR" if not known_to_ehr else "changes patients"
    return Bed(
        name,
        tenant_id,
        device_id,
        patient_id,
        stay,
        phase_ms,
        about,
        consented=consented,
        known_to_ehr=known_to_ehr,
        plain=False,
        moves_to=moves_to,
    )
