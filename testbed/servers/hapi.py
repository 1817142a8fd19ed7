"""A real HAPI FHIR R4 server on a free loopback port, from Maven artifacts (`deploy/local/hapi`)."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.servers import java
from testbed.servers.process import LOOPBACK, ServerProcess, free_port

PROGRAM = "hapi"
READY_TIMEOUT_S = 120.0


class HapiServer:
    """HAPI FHIR. `start` again after `stop` or `kill` keeps the address, and, with a database file, its data."""

    def __init__(self, log_file: Path, *, database: str = "mem", validate: bool = True, heap_mib: int = 768) -> None:
        self._port = free_port()
        self._log_file = log_file
        self._database = database
        self._validate = validate
        self._heap_mib = heap_mib
        self._process: ServerProcess | None = None
        self.base_url = f"http://{LOOPBACK}:{self._port}/fhir"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it and return when it serves its CapabilityStatement."""
        if self._process is not None and self._process.is_running():
            return
        strict = str(self._validate).lower()
        self._process = ServerProcess(
            "HAPI FHIR",
            [
                java.java_command(),
                f"-Xmx{self._heap_mib}m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",  # up in 11 s in place of 17 s
                f"-Dport={self._port}",
                f"-Ddb={self._database}",
                f"-Dvalidate={strict}",
                f"-Drefint={strict}",
                "-cp",
                f"{java.jars(PROGRAM)}/*",
                "vitalwire.local.FhirServer",
            ],
            log_file=self._log_file,
        )
        self._process.wait_until(self._answers, timeout_s=READY_TIMEOUT_S)

    def stop(self) -> None:
        """Shut it down cleanly."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/metadata", timeout=10) as answer:  # noqa: S310 (our own http URL)
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
