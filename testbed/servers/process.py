"""One server process: its output goes to a file, and it never outlives this process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.errors import Misconfigured
from testbed.servers import guard

POLL_S = 0.05
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A TCP port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether something on loopback accepts connections at this port."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


class ServerProcess:
    """A running server under a guard that stops it if this process dies, even by SIGKILL."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_s: float = 20.0,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._stop_signal = stop_signal
        self._grace_s = grace_s
        log_file.parent.mkdir(parents=True, exist_ok=True)
        guarded = [sys.executable, "-I", "-S", str(guard.__file__), stop_signal.name, str(grace_s), user or "-"]
        with log_file.open("ab") as log:
            self._guard = subprocess.Popen(  # noqa: S603 (our own command lines)
                [*guarded, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C reaches the whole foreground process group; this process decides what it means for its servers
                start_new_session=True,
            )
        self.pid = self._read_pid()

    def _read_pid(self) -> int:
        assert self._guard.stdout is not None
        line = self._guard.stdout.readline()
        if not line:
            self._reap()
            raise Misconfigured(f"{self.name} could not be started. Its output is in {self.log_file}.")
        return int(line)

    def is_running(self) -> bool:
        """Whether the server is still running."""
        return self._guard.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Return once `ready()`; kill the server and raise if it exits first or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.is_running():
                self._reap()
                raise Misconfigured(f"{self.name} exited while starting. Its output is in {self.log_file}.")
            if time.monotonic() > deadline:
                self.kill()
                raise Misconfigured(
                    f"{self.name} was not ready within {timeout_s:.0f} s. Its output is in {self.log_file}."
                )
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Ask the server to stop; kill it after the grace period."""
        if self.is_running():
            self._signal(self._stop_signal)
            try:
                self._guard.wait(self._grace_s)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
        self._reap()

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would."""
        if self.is_running():
            self._signal(signal.SIGKILL)
        self._reap()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _reap(self) -> None:
        self._guard.wait()
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                pipe.close()


def children(pid: int) -> list[int]:
    """The process's children (Linux only)."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    with contextlib.suppress(OSError):
        return [int(child) for child in listed.read_text().split()]
    return []


def wait_until_gone(pids: Sequence[int], *, timeout_s: float) -> None:
    """Return when none of these processes is left; kill those that remain after the timeout."""
    deadline = time.monotonic() + timeout_s
    left = list(pids)
    while left := [pid for pid in left if _exists(pid)]:
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        time.sleep(POLL_S)


def _exists(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
