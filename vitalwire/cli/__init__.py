"""The command `vitalwire`: `main()` runs it and reports every error as one line that says what to do next."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from schemas.errors import Misconfigured, VitalwireError
from vitalwire.cli.application import app
from vitalwire.cli.output import complain

__all__ = ["main"]

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 success, 1 failure, 2 wrong usage or configuration, 130 interrupted."""
    try:
        app(args=arguments, prog_name="vitalwire")
    except Misconfigured as error:
        complain(str(error))
        sys.exit(WRONG_USE)
    except VitalwireError as error:
        complain(str(error))
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001, RUF100 (an unexpected error's text may contain patient data: only its type is shown)
        complain(f"Internal error: {type(error).__name__} {_location(error)}. Please report this line.")
        sys.exit(FAILED)
    raise AssertionError("a command always exits")


def _location(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"in {Path(last.filename).name}:{last.lineno}"
