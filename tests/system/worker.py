"""One role's worker as a process that can be stopped, frozen and killed, with its metrics page."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from testbed.servers.process import ServerProcess

READY_WITHIN_S = 240.0
"""The first telemetry worker of a checkout compiles before it is ready, for a minute on a busy machine."""


class Worker:
    """One role's process, with its metrics page."""

    def __init__(self, role: str, command: Sequence[str], port: int, log_file: Path) -> None:
        self.role = role
        self.log_file = log_file
        self.pages: list[str] = []
        self._url = f"http://127.0.0.1:{port}"
        self._process = ServerProcess(f"The {role} worker", command, log_file=log_file, grace_s=45)

    def wait_until_ready(self) -> None:
        """Return when it says it is ready."""
        self._process.wait_until(self._is_ready, timeout_s=READY_WITHIN_S)

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_running()

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self._page().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"vitalwire_{name}"))

    def most_mib(self) -> int:
        """The most memory it has had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) // 1024

    def stop(self) -> None:
        """SIGTERM."""
        self._remember_page()
        self._process.stop()

    def freeze(self) -> None:
        """Stop it in its tracks, as a suspended virtual machine is."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, not knowing that time has passed."""
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        self._remember_page()
        self._process.kill()

    def _remember_page(self) -> None:
        with suppress(httpx.HTTPError):
            self.pages.append(self._page())

    def _page(self) -> str:
        return httpx.get(f"{self._url}/metrics", timeout=10).raise_for_status().text

    def health(self) -> tuple[int, str]:
        """Status and text of `/health/ready`; status 0 while nobody answers."""
        try:
            answer = httpx.get(f"{self._url}/health/ready", timeout=1)
        except httpx.HTTPError:
            return 0, ""
        return answer.status_code, answer.text

    def _is_ready(self) -> bool:
        return self.health()[0] == httpx.codes.OK
