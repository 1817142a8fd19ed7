"""EHRs as processes of their own, with patients, as an endpoint's configuration names them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from testbed.servers.process import ServerProcess, free_port, listens
from tests.system.command import vitalwire_command
from tests.system.recording import subject_id


@dataclass(frozen=True)
class SandboxProcess:
    """A running sandbox EHR."""

    origin: str
    section: dict[str, Any]
    log_file: Path

    def admit(self, patients: Iterable[str]) -> None:
        """Make the patients known, each in hospital."""
        body = [{"id": subject_id(patient)} for patient in patients]
        httpx.put(f"{self.origin}/__sandbox/patients", json=body, timeout=30).raise_for_status()

    def faults(self, *faults: dict[str, Any]) -> None:
        """Set these troubles and no others."""
        httpx.put(f"{self.origin}/__sandbox/faults", json=list(faults), timeout=30).raise_for_status()

    def struck(self) -> dict[str, int]:
        """How often each trouble struck."""
        counts: dict[str, int] = httpx.get(f"{self.origin}/__sandbox/faults", timeout=30).json()
        return counts


@contextmanager
def sandbox_process(profile: str, directory: Path) -> Iterator[SandboxProcess]:
    """`vitalwire sandbox-ehr` on a free port."""
    port = free_port()
    command = vitalwire_command("sandbox-ehr", "--profile", profile, "--port", str(port))
    log_file = directory / f"sandbox-{profile}.log"
    process = ServerProcess("The sandbox EHR", command, log_file=log_file, grace_s=3)
    try:
        process.wait_until(lambda: listens(port), timeout_s=60)
        origin = f"http://127.0.0.1:{port}"
        yield SandboxProcess(origin, _section(profile, origin, directory), log_file)
    finally:
        process.stop()


def _section(profile: str, origin: str, directory: Path) -> dict[str, Any]:
    client = httpx.get(f"{origin}/__sandbox/client", timeout=30).raise_for_status().json()
    section: dict[str, Any] = {"kind": profile, "base_url": client["base_url"]}
    if client["login"] == "assertion":
        key = directory / f"{secrets.token_hex(4)}.pem"
        key.touch(mode=0o600)
        key.write_text(client["private_key_pem"])
        names = {name: client[name] for name in ("token_url", "client_id", "key_id")}
        section["auth"] = {"kind": "private_key_jwt", "private_key": {"file": str(key)}} | names
    elif client["login"] == "secret":
        secret = directory / f"{secrets.token_hex(4)}.secret"
        secret.touch(mode=0o600)
        secret.write_text(client["client_secret"])
        names = {name: client[name] for name in ("token_url", "client_id")}
        scope = "system/Observation.write system/Observation.read"
        section["auth"] = {
            "kind": "client_secret_basic",
            "client_secret": {"file": str(secret)},
            "scope": scope,
        } | names
        section["capabilities"] = {"performer": "Practitioner/vitalwire"}
    else:
        section["capabilities"] = {"conditional_create": True}
    return section


def admit_to_fhir(base_url: str, patients: Iterable[str]) -> None:
    """Make the patients known to a FHIR server that refuses references to nobody."""
    entries = [
        {
            "resource": {"resourceType": "Patient", "id": subject_id(patient)},
            "request": {"method": "PUT", "url": f"Patient/{subject_id(patient)}"},
        }
        for patient in patients
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    httpx.post(base_url, json=bundle, timeout=60).raise_for_status()
