"""How a worker ends when it cannot go on: at once, before anything is acknowledged, and saying where, never with what data."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable

from schemas.errors import VitalwireError

_log = logging.getLogger(__name__)
EXIT_UNSAFE = 70
"""The process's exit status when a role could not go on (EX_SOFTWARE)."""


async def exit_on_error(work: Awaitable[object]) -> None:
    """Await; any error at all ends the process. The log names the error and the line, and never holds data.

    Errors of our own say what to do next, and by their rule nothing of a patient; other errors may quote anything.
    """
    try:
        await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        told = f": {error}" if isinstance(error, VitalwireError) else ""
        end(f"{type(error).__name__} at {_where(error)}{told}")


def end(why: str) -> None:
    """Leave without a clean-up that could acknowledge anything."""
    _log.critical("ending: %s", why)
    os._exit(EXIT_UNSAFE)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown place"
