"""`vitalwire broker` and `vitalwire sandbox-ehr`: local servers until Ctrl-C."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal, get_args

from schemas.endpoint_kinds import EndpointKind
from schemas.errors import Misconfigured
from testbed.brokers import Kind, start_broker
from testbed.sandbox_ehr import main as serve_sandbox_ehr
from vitalwire.cli.output import note, say
from vitalwire.stopping import stop_requests

KINDS: tuple[Kind | Literal["auto"], ...] = ("auto", *get_args(Kind))
PROFILES = tuple(kind for kind in get_args(EndpointKind) if kind != "hl7v2")


def broker_kind(name: str) -> Kind | Literal["auto"]:
    """The kind of broker by its name, or an error that names them all."""
    for kind in KINDS:
        if kind == name:
            return kind
    raise Misconfigured(f"'{name}' is no kind of broker. Choose one of {', '.join(KINDS)}.")


def run_broker(kind: str) -> None:
    """Start a broker, print its address, and keep it until Ctrl-C or SIGTERM."""
    chosen = broker_kind(kind)
    with stop_requests() as stop, tempfile.TemporaryDirectory(prefix="vitalwire-broker-") as directory:
        place = Path(directory)
        with start_broker(chosen, data_directory=place / "data", log_file=place / "broker.log") as broker:
            say(broker.bootstrap_servers)
            note(f"{broker.kind} broker, until Ctrl-C; its log: {place / 'broker.log'}")
            stop.wait()


def run_sandbox_ehr(profile: str, port: int) -> None:
    """Serve the sandbox EHR until Ctrl-C."""
    if profile not in PROFILES:
        raise Misconfigured(f"'{profile}' is no profile of the sandbox EHR. Choose one of {', '.join(PROFILES)}.")
    serve_sandbox_ehr(profile, port)
