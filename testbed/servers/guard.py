"""Runs one server as its child and stops it when the process that asked for it is gone.

Standard library only: it runs as a script.

Usage: guard.py STOP_SIGNAL GRACE_S USER COMMAND…   (USER "-" keeps the user)

That process holds the other end of standard input; when it ends, even by SIGKILL, the pipe closes. The first line on standard
output is the server's pid. The server's own output goes to the guard's standard error.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the command until it exits, or until standard input closes."""
    stop_signal, grace_s, user, *command = arguments
    child = subprocess.Popen(  # noqa: S603 (the command comes from our own code)
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=sys.stderr.fileno(),
        user=None if user == "-" else user,
        group=None if user == "-" else _group_of(user),
        extra_groups=None if user == "-" else [],
        preexec_fn=_end_with_parent,  # noqa: PLW1509 (this process has one thread at this point)
    )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    threading.Thread(
        target=_stop_when_orphaned, args=(child, signal.Signals[stop_signal], float(grace_s)), daemon=True
    ).start()
    return child.wait()


def _group_of(user: str) -> int:
    import pwd  # noqa: PLC0415 (not on every platform, and needed only to change the user)

    return pwd.getpwnam(user).pw_gid


def _end_with_parent() -> None:
    """If the guard itself is killed, Linux kills the server with it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop_when_orphaned(child: subprocess.Popen[bytes], stop_signal: signal.Signals, grace_s: float) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    child.send_signal(stop_signal)
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
