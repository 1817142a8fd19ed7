"""Ends a worker that cannot continue: at once, before anything is acknowledged, and without logging any data."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable

from schemas.errors import VitalwireError

_log = logging.getLogger(__name__)
EXIT_UNSAFE = 70
"""The process's exit status when a role could not continue (EX_SOFTWARE)."""


async def exit_on_error(work: Awaitable[object]) -> None:
    """Await the work; any error ends the process. The log gives the error and the line, and never contains data.

    The message is logged only of our own errors: they say what to do next and never name a patient. Others may quote
    anything.
    """
    try:
        await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        message = f": {error}" if isinstance(error, VitalwireError) else ""
        exit_process(f"{type(error).__name__} at {_where(error)}{message}")


def exit_process(reason: str) -> None:
    """Exit without clean-up, because clean-up could acknowledge records."""
    _log.critical("exiting: %s", reason)
    os._exit(EXIT_UNSAFE)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown line"
