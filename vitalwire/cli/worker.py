"""`vitalwire worker ROLE`."""

from __future__ import annotations

import logging
import os
import sys

from schemas.errors import Misconfigured
from vitalwire.logs import log_to_standard_error
from vitalwire.roles.registry import ROLES
from vitalwire.settings import from_environment


def run_worker(role: str) -> None:
    """Run one role until SIGTERM or Ctrl-C. Logs go to standard error, without patient data."""
    start = ROLES.get(role)
    if start is None:
        raise Misconfigured(f"'{role}' is no role. Choose one of {', '.join(ROLES)}.")
    log_to_standard_error()
    if start(from_environment()):
        logging.getLogger(__name__).info("the configuration changed: starting anew with it")
        os.execv(sys.executable, [sys.executable, "-m", "vitalwire", "worker", role])  # noqa: S606
