"""A real PostgreSQL server with its own cluster, from Debian's package, on a free loopback port.

PostgreSQL refuses to run as root; where this process is root, the server runs as the user `postgres` of its package.
Source: PostgreSQL 15 documentation, "initdb", "Shutting Down the Server".
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from schemas.errors import Misconfigured
from testbed.servers.process import LOOPBACK, ServerProcess, children, free_port, wait_until_gone

DEBIAN = Path("/usr/lib/postgresql")
OWNER = "postgres"
SUPERUSER = "vitalwire"
READY_TIMEOUT_S = 60.0


def programs() -> Path | None:
    """The directory with `initdb` and `postgres`: on the path, else the newest that Debian installed."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    installed = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda found: int(found.parts[-3]))
    return installed[-1].parent if installed else None


class PostgresServer:
    """A server with an empty cluster. `start` again after `stop` or `kill` keeps data and address; `remove` ends both."""

    def __init__(self, log_file: Path) -> None:
        found = programs()
        if found is None:
            raise Misconfigured("PostgreSQL is not installed. Install it (Debian: apt-get install postgresql).")
        self._programs = found
        self._log_file = log_file
        self._port = free_port()
        self._password = secrets.token_urlsafe(16)
        self._user = OWNER if os.geteuid() == 0 else None
        # not under the caller's directory: the server's user may not enter it
        self.home = Path(tempfile.mkdtemp(prefix="vitalwire-postgresql-"))
        self._process: ServerProcess | None = None

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's URL of one database."""
        return f"postgresql+psycopg://{SUPERUSER}:{self._password}@{LOOPBACK}:{self._port}/{database}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it, the first time with a new cluster, and return when it accepts sessions."""
        if self._process is not None and self._process.is_running():
            return
        data = self.home / "data"
        if not data.exists():
            self._create_cluster(data)
        arguments = ["-D", str(data), "-h", LOOPBACK, "-p", str(self._port), "-k", str(self.home)]
        self._process = ServerProcess(
            "PostgreSQL",
            [str(self._programs / "postgres"), *arguments],
            log_file=self._log_file,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, not waited for
            user=self._user,
        )
        self._process.wait_until(self._accepts, timeout_s=READY_TIMEOUT_S)

    def stop(self) -> None:
        """Shut it down cleanly, ending its sessions (`fast`)."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """Kill it with SIGKILL; its child processes exit when their parent is gone."""
        process, self._process = self._process, None
        if process is not None:
            workers = children(process.pid)
            process.kill()
            wait_until_gone(workers, timeout_s=10)

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def create_database(self, name: str) -> str:
        """An empty database; its URL."""
        with psycopg.connect(self._conninfo(), autocommit=True) as session:
            session.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.url(name)

    def standby(self, log_file: Path) -> PostgresServer:
        """A running standby made from this server as it is now. It does not receive later commits."""
        copy = PostgresServer(log_file)
        copy._password = self._password
        data = copy.home / "data"
        if self._user is not None:
            shutil.chown(copy.home, self._user, self._user)
        self._run("pg_basebackup", f"--pgdata={data}", f"--dbname={self._conninfo()}", "--checkpoint=fast")
        (data / "standby.signal").touch()
        copy.start()
        return copy

    def promote(self) -> None:
        """Make a standby a primary; returns when it accepts writes."""
        with psycopg.connect(self._conninfo(), autocommit=True) as session:
            session.execute("SELECT pg_promote()")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _conninfo(self) -> str:
        return self.url().replace("+psycopg", "")

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self._conninfo(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_cluster(self, data: Path) -> None:
        secret = self.home / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        if self._user is not None:
            shutil.chown(self.home, self._user, self._user)
            shutil.chown(secret, self._user, self._user)
        options = [
            f"--username={SUPERUSER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ]
        try:
            self._run("initdb", f"--pgdata={data}", *options)
        finally:
            secret.unlink()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd=self.home,
        )
        if done.returncode != 0:
            raise Misconfigured(f"PostgreSQL's {program} failed: {done.stderr.strip()[-500:]}")
