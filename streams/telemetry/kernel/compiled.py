"""The one place that compiles a loop: machine code by Numba, kept on disk, run without the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
I16 = NDArray[np.int16]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

NEVER = np.iinfo(np.int64).min
"""No time yet. Less than any real one."""


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop at its first call. With the JIT disabled (NUMBA_DISABLE_JIT=1) it runs as Python and gives the same.

    Machine integers wrap round, which hashing means to do; Numpy's own would warn of it.
    """
    if numba.config.DISABLE_JIT:
        return np.errstate(over="ignore")(loop)
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(loop))
