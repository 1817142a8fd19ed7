"""Runs the sandbox EHR on a loopback port: in a thread of a test, or as its own process."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from schemas.errors import Misconfigured
from testbed.sandbox_ehr.application import Sandbox
from testbed.sandbox_ehr.control import TOKEN_PATH, app
from testbed.sandbox_ehr.login import CLIENT_ID, KEY_ID
from testbed.sandbox_ehr.store import Resource, seed_patient

HOST = "127.0.0.1"
START_WITHIN_S = 10.0
KEEPALIVE_S = 75


class _Connections:
    """The open connections, so that a fault can reset one."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """uvicorn's HTTP protocol, which registers its connections here."""
        book = self._open

        class Protocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                book[transport.get_extra_info("peername")[:2]] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    book.pop(tuple(self.client), None)  # type: ignore[arg-type]
                super().connection_lost(exc)

        return Protocol

    def reset(self, request: Request) -> None:
        """Reset the request's TCP connection."""
        if request.client is None:
            return
        transport = self._open.get((request.client.host, request.client.port))
        if transport is not None:
            link = transport.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()


def _server(profile: str, options: dict[str, Any]) -> tuple[uvicorn.Server, Sandbox]:
    application = app(profile, **options)
    connections = _Connections()
    application.state.reset_connection = connections.reset
    config = uvicorn.Config(
        application,
        http=connections.protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEPALIVE_S,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    return uvicorn.Server(config), application.state.sandbox


def _listen(port: int) -> socket.socket:
    # Named as TCP, so that asyncio switches Nagle's delay off for the connections it accepts.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise Misconfigured(
            f"Port {port} cannot be opened: {error.strerror}. Choose another with `--port`, or 0 for any free port."
        ) from None
    listener.listen(256)
    return listener


class SandboxEhr:
    """A sandbox EHR in a thread of this process. Use it as a context manager, or `start` and `stop` it."""

    def __init__(self, profile: str, port: int = 0, **options: Any) -> None:
        self.profile = profile
        self._server, self.sandbox = _server(profile, options)
        self._listener = _listen(port)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name="sandbox-ehr", daemon=True
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://{HOST}:{self.port}"

    @property
    def base_url(self) -> str:
        """The FHIR base URL."""
        return f"{self.origin}{self.sandbox.profile.base_path}"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.origin}{TOKEN_PATH}"

    def start(self) -> SandboxEhr:
        """Start serving; the port accepts connections when this returns."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving; open requests are cut off."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=START_WITHIN_S)
        self._listener.close()

    def __enter__(self) -> SandboxEhr:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def seed(self, *patients: str, **about: Any) -> None:
        """Add patients, each with an active encounter by default."""
        for patient in patients:
            seed_patient(self.sandbox.store, patient, **about)

    def resources(self, kind: str = "Observation") -> list[Resource]:
        """Every stored resource of one type."""
        return list(self.sandbox.store.by_type[kind].values())

    def endpoint(self, directory: Path) -> dict[str, Any]:
        """A configured endpoint (`endpoints:` entry) for this EHR; its secret is written into `directory`."""
        return endpoint_section(self.sandbox, self.profile, self.origin, directory)


def endpoint_section(sandbox: Sandbox, profile: str, origin: str, directory: Path) -> dict[str, Any]:
    """The `endpoints:` entry for a sandbox EHR at `origin`. Secrets go to files that only the owner can read."""
    section: dict[str, Any] = {"kind": profile, "base_url": f"{origin}{sandbox.profile.base_path}"}
    token_url = f"{origin}{TOKEN_PATH}"
    if sandbox.profile.login == "assertion":
        key = _secret_file(directory / "sandbox-client.pem", sandbox.login.private_key_pem or "")
        section["auth"] = {
            "kind": "private_key_jwt", "token_url": token_url, "client_id": CLIENT_ID, "key_id": KEY_ID,
            "private_key": {"file": str(key)},
        }  # fmt: skip
    elif sandbox.profile.login == "secret":
        secret = _secret_file(directory / "sandbox-client.secret", sandbox.login.client_secret)
        section["auth"] = {
            "kind": "client_secret_basic", "token_url": token_url, "client_id": CLIENT_ID,
            "client_secret": {"file": str(secret)}, "scope": "system/Observation.write system/Observation.read",
        }  # fmt: skip
        section["capabilities"] = {"performer": "Practitioner/vitalwire"}
    else:
        section["capabilities"] = {"conditional_create": sandbox.profile.conditional_create}
    return section


def _secret_file(path: Path, secret: str) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(secret)
    return path


def main(profile: str, port: int = 0, **options: Any) -> None:
    """Serve in this process until SIGTERM or Ctrl-C. Prints the address to standard output first."""
    server, sandbox = _server(profile, options)
    listener = _listen(port)
    base = f"http://{HOST}:{listener.getsockname()[1]}{sandbox.profile.base_path}"
    sys.stdout.write(f"sandbox EHR ({profile}) at {base}\n")
    sys.stdout.flush()
    server.run(sockets=[listener])
