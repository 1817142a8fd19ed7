"""The interface of every kind of Kafka broker, and its readiness check."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from testbed.servers.process import ServerProcess, listens

Kind = Literal["given", "container", "apache", "embedded"]
READY_TIMEOUT_S = 60.0


class Broker(Protocol):
    """A Kafka broker on this machine or at a given address. `start` again after `stop` or `kill` keeps the address."""

    kind: Kind
    bootstrap_servers: str

    def start(self) -> None:
        """Start it and return when it responds; Misconfigured if it does not."""
        ...

    def stop(self) -> None:
        """Shut it down cleanly."""
        ...

    def kill(self) -> None:
        """Kill it, as a crash would."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StopsOnExit:
    """A broker as a context manager: it is stopped when the block ends."""

    def stop(self) -> None:
        """Shut it down cleanly."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class ProcessBroker(StopsOnExit):
    """A broker that runs as a child process. Each kind defines its preparation and command."""

    kind: Kind
    name: str

    def __init__(self, port: int, log_file: Path) -> None:
        self._port = port
        self._log_file = log_file
        self._process: ServerProcess | None = None
        self.bootstrap_servers = f"127.0.0.1:{port}"

    def command(self) -> list[str]:
        """The command line, with everything it needs in place."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it on its port and return when it responds."""
        if self._process is not None and self._process.is_running():
            return
        process = ServerProcess(self.name, self.command(), log_file=self._log_file)
        self._process = process
        process.wait_until(lambda: listens(self._port), timeout_s=READY_TIMEOUT_S)
        process.wait_until(answering(self.bootstrap_servers), timeout_s=READY_TIMEOUT_S)

    def stop(self) -> None:
        """Shut it down cleanly."""
        self._end(ServerProcess.stop)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._end(ServerProcess.kill)

    def _end(self, how: Callable[[ServerProcess], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            how(process)


def answering(bootstrap_servers: str) -> Callable[[], bool]:
    """A function that tests whether a broker at this address answers metadata requests."""
    client = AdminClient(
        {"bootstrap.servers": bootstrap_servers, "reconnect.backoff.max.ms": 200, "log_level": 0, "logger": None}
    )

    def asks() -> bool:
        with contextlib.suppress(KafkaException):
            return bool(client.list_topics(timeout=1.0).brokers)
        return False

    return asks


def answers_within(bootstrap_servers: str, timeout_s: float) -> bool:
    """Whether a broker that is no child process answers within the timeout."""
    asks, deadline = answering(bootstrap_servers), time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if asks():
            return True
    return False
