"""Compiling inner loops with Numba, cached between processes where a folder can be written."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: compile on the first call, keep the result for the next process, release the GIL while it runs.

    Floats are added and multiplied as written (no contraction, no reordering), so that the results are NumPy's.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # Numba found no folder for its cache
        _say_uncached()
        return njit(nogil=True)(function)


@functools.cache
def _say_uncached() -> None:
    warnings.warn(
        "no folder for compiled code can be written (set NUMBA_CACHE_DIR): it is compiled anew in every process",
        stacklevel=3,
    )
