"""`vitalwire broker` and `vitalwire sandbox-ehr`: local servers until Ctrl-C."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal, get_args

from schemas.errors import Misconfigured
from testbed.brokers import Kind, start_broker
from testbed.sandbox_ehr import main as serve_sandbox_ehr
from vitalwire.cli.output import note, say
from vitalwire.stopping import stop_requests

KINDS: tuple[Kind | Literal["auto"], ...] = ("auto", *get_args(Kind))


def broker_kind(name: str) -> Kind | Literal["auto"]:
    """The kind of broker of this name, or an error that lists all."""
    for kind in KINDS:
        if kind == name:
            return kind
    raise Misconfigured(f"There is no kind of broker '{name}'. Choose one of: {', '.join(KINDS)}.")


def run_broker(kind: str) -> None:
    """Run a broker until Ctrl-C or SIGTERM, and print its address."""
    chosen = broker_kind(kind)
    with stop_requests() as stop, tempfile.TemporaryDirectory(prefix="vitalwire-broker-") as directory:
        files = Path(directory)
        with start_broker(chosen, data_directory=files / "data", log_file=files / "broker.log") as broker:
            say(broker.bootstrap_servers)
            note(f"{broker.kind} broker running until Ctrl-C; its log is {files / 'broker.log'}")
            stop.wait()


def run_sandbox_ehr(profile: str, port: int) -> None:
    """Run the sandbox EHR until Ctrl-C."""
    serve_sandbox_ehr(profile, port)
