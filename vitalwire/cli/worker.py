"""`vitalwire worker ROLE`."""

from __future__ import annotations

import logging
import os
import sys

from vitalwire.logs import log_to_standard_error
from vitalwire.roles.registry import role_named
from vitalwire.settings import from_environment


def run_worker(name: str) -> None:
    """Run one role until SIGTERM or Ctrl-C. Logs go to standard error, without patient data."""
    run = role_named(name).load()
    log_to_standard_error()
    if run(from_environment()):
        logging.getLogger(__name__).info("the configuration changed: restarting with it")
        os.execv(sys.executable, [sys.executable, "-m", "vitalwire", "worker", name])  # noqa: S606
