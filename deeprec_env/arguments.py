"""What callers hand in, checked: numbers and names of the right type, or an `InputError`."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError


def whole(field: str, value: Any, least: int, most: int | None = None, allowed: str = "") -> int:
    """A whole number within bounds, Python's or NumPy's; truth values and floats are none."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        limit = "" if most is None else f" and at most {most}"
        raise InputError(field, value, allowed or f"must be a whole number of at least {least}{limit}")
    return number


def real(field: str, value: Any, allowed: str = "must be a number") -> float:
    """A finite number, Python's or NumPy's; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InputError(field, value, allowed)
    return float(value)


def choice(field: str, value: Any, names: Iterable[str]) -> str:
    """One of some names."""
    known = list(names)
    if not isinstance(value, str) or value not in known:
        raise InputError(field, value, f"must be one of {', '.join(known)}")
    return value


def path(field: str, value: Any) -> Path:
    """A path, given as one or as text."""
    if not isinstance(value, str | Path):
        raise InputError(field, value, "must be a path")
    return Path(value)
