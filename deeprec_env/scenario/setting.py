"""The setting: all that a controller may choose for the queries that arrive from now on."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import MOST_ITEMS, Threshold
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.threshold import read_threshold


class SettingNumbers(NamedTuple):
    """A setting as compiled code takes it and arrays hold it: floats, whose whole numbers are exact."""

    batch_size: float
    threshold: float  # infinite: never
    plan: float


BATCH_SIZE, THRESHOLD, PLAN = (SettingNumbers._fields.index(name) for name in ("batch_size", "threshold", "plan"))
"""Columns of settings as rows of an array."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is in force for the queries that arrive under it: the same shape from an action to the splitter.

    `batch_size`: most items of a request. `threshold`: queries of at least this many items go to the accelerator whole,
    None (given as infinity or "never", too): none does. `plan`: the index of the scenario's plan, 0 without plans.
    Raises `InputError` for what is no whole number or out of bounds; `check_setting` says whether a scenario's node
    can take it.

    A further control is a field here, its number in `SettingNumbers`, its ladder in `scenario.schema.Control`, and the
    place where it acts.
    """

    batch_size: int
    threshold: Threshold = None
    plan: int = 0

    def __post_init__(self) -> None:
        most = f"must be a whole number of at least 1 and at most {MOST_ITEMS}"
        object.__setattr__(self, "batch_size", _whole("batch_size", self.batch_size, 1, most))
        if self.threshold is not None:
            object.__setattr__(self, "threshold", read_threshold(self.threshold))
        object.__setattr__(self, "plan", _whole("plan", self.plan, 0, "must be the index of a plan, from 0 on"))

    @classmethod
    def of(cls, numbers: Sequence[float] | Floats) -> Setting:
        """The setting of `SettingNumbers`, or of such a row of an array."""
        named = SettingNumbers(*numbers)
        threshold = None if math.isinf(named.threshold) else int(named.threshold)
        return cls(int(named.batch_size), threshold, int(named.plan))

    @property
    def numbers(self) -> SettingNumbers:
        """As compiled code takes it."""
        return SettingNumbers(float(self.batch_size), threshold_number(self.threshold), float(self.plan))

    def replace(self, **changes: Any) -> Setting:
        """A copy with other values of some controls."""
        return replace(self, **changes)


def threshold_number(threshold: Threshold) -> float:
    """A threshold as a number: infinite where nothing is ever offloaded."""
    return math.inf if threshold is None else float(threshold)


def _whole(field: str, value: Any, least: int, allowed: str) -> int:
    """A whole number within bounds; NumPy's are taken, truth values and floats are not."""
    if type(value) is int and least <= value <= MOST_ITEMS:
        return value
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if not least <= number <= MOST_ITEMS:
        raise InputError(field, value, allowed)
    return number
