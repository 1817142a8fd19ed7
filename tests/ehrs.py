"""EHRs to write to, real and sandboxed, and results to write, for the tests of adapters and delivery."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from adapters.ehr import connect
from mappings.observation.kind import OBSERVATION
from mappings.observation.mapper import ObservationMapper
from schemas.config import Config, Endpoint, Secret
from schemas.ehr import EhrResponse
from schemas.operation import Intent, Source
from schemas.ports.ehr import EhrEndpoint
from schemas.window import Window
from testbed.sandbox_ehr import SandboxEhr
from tests.doubles.ledgers import intent
from tests.doubles.windows import window

NAME = "north"
START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class Counts:
    """An Observer that remembers."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, dict[str, str]]] = []

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        self.counted.append((name, labels))

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.counted.append((name, labels))

    def seconds(self, name: str, value_s: float, **labels: str) -> None:
        self.counted.append((name, labels))

    def requests(self, operation: str) -> list[str]:
        return [
            labels["status"]
            for name, labels in self.counted
            if name == "ehr_requests_total" and labels["operation"] == operation
        ]


def read_secret(secret: Secret) -> str:
    return Path(str(secret.file)).read_text()


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Ehr:
    """An EHR under test: how it is configured, seeded and looked into, past the adapter."""

    label: str
    section: dict[str, Any]
    seed: Callable[[str], None]
    observations: Callable[[str], list[dict[str, Any]]]
    sandbox: SandboxEhr | None = None
    observer: Counts = field(default_factory=Counts)

    def configured(self, **capabilities: Any) -> Config:
        section = self.section | {"capabilities": self.section.get("capabilities", {}) | capabilities}
        return Config.model_validate({"endpoints": {NAME: section}})

    def endpoint(self, **capabilities: Any) -> Endpoint:
        return self.configured(**capabilities).endpoints[NAME]

    def connect(self, **capabilities: Any) -> EhrEndpoint:
        return connect(NAME, self.endpoint(**capabilities), read_secret, now, self.observer)

    def intent(self, patient: str, minute: int = 0, value: float = 72.0, **about: Any) -> Intent:
        """A heart-rate window of a patient as the mapping renders it for this EHR."""
        measured = heart_rate(patient, minute, value, **about)
        payload = ObservationMapper(self.configured(), NAME).render([measured], patient)
        return intent(
            patient=patient,
            endpoint=NAME,
            content=measured.content_hash,
            subject_id=patient,
            source=Source(event_id=measured.window_id, part_ids=[measured.window_id]),
            occurred_at=measured.end,
            payload=payload,
        )

    def with_encounter(self, intent: Intent) -> dict[str, Any]:
        return OBSERVATION.with_encounter(intent.payload, f"Encounter/enc-{intent.subject_id}")

    async def search(self, connection: EhrEndpoint, intent: Intent) -> tuple[Sequence[Mapping[str, Any]], EhrResponse]:
        """As delivery searches for the result."""
        parameters = OBSERVATION.search_parameters(intent.payload, self.endpoint().matrix.observation)
        return await connection.search("Observation", parameters)


def heart_rate(patient: str, minute: int, value: float, device: str = "mon-1") -> Window:
    return window("heart_rate", value, patient=patient, minute=minute, device_id=device)


@contextmanager
def sandbox_ehr(profile: str, directory: Path, **options: Any) -> Iterator[Ehr]:
    """The sandbox EHR with this profile."""
    with SandboxEhr(profile, **options) as sandbox:

        def observations(patient: str) -> list[dict[str, Any]]:
            return [r for r in sandbox.resources() if r["subject"]["reference"] == f"Patient/{patient}"]

        yield Ehr(profile, sandbox.endpoint(directory), sandbox.seed, observations, sandbox)


def hapi_ehr(base_url: str) -> Ehr:
    """A real FHIR server."""

    def seed(patient: str) -> None:
        encounter = {
            "resourceType": "Encounter",
            "id": f"enc-{patient}",
            "status": "in-progress",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
            "subject": {"reference": f"Patient/{patient}"},
            "period": {"start": "2020-01-01T00:00:00Z"},
        }
        for resource in ({"resourceType": "Patient", "id": patient}, encounter):
            url = f"{base_url}/{resource['resourceType']}/{resource['id']}"
            httpx.put(url, json=resource, timeout=60).raise_for_status()

    def observations(patient: str) -> list[dict[str, Any]]:
        params = {"subject": f"Patient/{patient}", "_count": "200"}
        bundle = httpx.get(f"{base_url}/Observation", params=params, timeout=60).raise_for_status().json()
        return [entry["resource"] for entry in bundle.get("entry", [])]

    section = {"kind": "fhir", "base_url": base_url, "capabilities": {"conditional_create": True}}
    return Ehr("hapi", section, seed, observations)
