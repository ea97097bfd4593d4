"""The setting: all that a controller may choose for the queries that arrive from now on."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from deeprec_env.arguments import choice, real
from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import HIGHEST, MOST_ITEMS, Threshold
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.threshold import read_threshold

SPLITS = ("full", "even")
"""How a query's items are cut into requests: as many of the batch size as can be, or in parts as equal as can be."""

ORDERS = ("fcfs", "small-first", "least-slack")
"""The order of all the node's queues."""

PREDICTED = "predicted"
OFFLOADS = ("threshold", PREDICTED)
"""What decides which queries go to the accelerator: their items, or where they are predicted to complete first."""


class SettingNumbers(NamedTuple):
    """A setting as compiled code takes it and arrays hold it: floats, whose whole numbers are exact.

    Words are places in `SPLITS`, `ORDERS` and `OFFLOADS`.
    """

    batch_size: float
    threshold: float  # infinite: never
    plan: float
    split: float
    order: float
    offload: float
    admit_ms: float  # infinite: every query is admitted


def numbers_of(control: str) -> tuple[str, ...]:
    """Names of the `SettingNumbers` that a level of a control's ladder decides: that of `offload` two."""
    return ("offload", "threshold") if control == "offload" else (control,)


BATCH_SIZE, THRESHOLD, PLAN, SPLIT, ORDER, OFFLOAD, ADMIT_MS = range(len(SettingNumbers._fields))
"""Columns of settings as rows of an array."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is in force for the queries that arrive under it: the same shape from an action to the splitter.

    `batch_size`: most items of a request. `threshold`: queries of at least this many items go to the accelerator whole,
    None (given as infinity or "never", too): none does. `plan`: the index of the scenario's plan, 0 without plans.
    `split`, one of `SPLITS`: how a query is cut into requests (rule 13). `order`, one of `ORDERS`: who leaves a queue
    first (rule 14). `offload`, one of `OFFLOADS`: whether the threshold decides, or the predicted completion, which
    ignores it (rule 15). `admit_ms`: queries predicted to take longer are shed (rule 16), None: none is.
    Raises `InputError` for what is no whole number, none of these words or out of bounds; `check_setting` says whether
    a scenario's node can take it.

    A further control is a field here, its number in `SettingNumbers`, its ladder in `scenario.control.Control`, and the
    place where it acts.
    """

    batch_size: int
    threshold: Threshold = None
    plan: int = 0
    split: str = "full"
    order: str = "fcfs"
    offload: str = "threshold"
    admit_ms: float | None = None

    def __post_init__(self) -> None:
        most = f"must be a whole number of at least 1 and at most {MOST_ITEMS}"
        object.__setattr__(self, "batch_size", _whole("batch_size", self.batch_size, 1, most))
        if self.threshold is not None:
            object.__setattr__(self, "threshold", read_threshold(self.threshold))
        object.__setattr__(self, "plan", _whole("plan", self.plan, 0, "must be the index of a plan, from 0 on"))
        for name, words in (("split", SPLITS), ("order", ORDERS), ("offload", OFFLOADS)):
            choice(name, getattr(self, name), words)
        if self.admit_ms is not None:
            object.__setattr__(self, "admit_ms", _milliseconds("admit_ms", self.admit_ms))

    @classmethod
    def of(cls, numbers: Sequence[float] | Floats) -> Setting:
        """The setting of `SettingNumbers`, or of such a row of an array."""
        named = SettingNumbers(*numbers)
        threshold = None if math.isinf(named.threshold) else int(named.threshold)
        return cls(
            int(named.batch_size),
            threshold,
            int(named.plan),
            SPLITS[int(named.split)],
            ORDERS[int(named.order)],
            OFFLOADS[int(named.offload)],
            None if math.isinf(named.admit_ms) else float(named.admit_ms),
        )

    @property
    def numbers(self) -> SettingNumbers:
        """As compiled code takes it."""
        return SettingNumbers(
            float(self.batch_size),
            threshold_number(self.threshold),
            float(self.plan),
            float(SPLITS.index(self.split)),
            float(ORDERS.index(self.order)),
            float(OFFLOADS.index(self.offload)),
            math.inf if self.admit_ms is None else self.admit_ms,
        )

    def level(self, control: str) -> Any:
        """What is chosen from a control's ladder; that of `offload` holds thresholds and `PREDICTED`."""
        if control == "offload" and self.offload != PREDICTED:
            return self.threshold
        return getattr(self, control)

    def at(self, **levels: Any) -> Setting:
        """A copy with levels of the ladders of some controls: the opposite of `level`."""
        if "offload" in levels:
            level = levels.pop("offload")
            predicted = isinstance(level, str) and level == PREDICTED
            levels |= (
                {"offload": PREDICTED, "threshold": None} if predicted else {"offload": "threshold", "threshold": level}
            )
        return self.replace(**levels)

    def replace(self, **changes: Any) -> Setting:
        """A copy with other values of some controls."""
        return replace(self, **changes)


def threshold_number(threshold: Threshold) -> float:
    """A threshold as a number: infinite where nothing is ever offloaded."""
    return math.inf if threshold is None else float(threshold)


def _milliseconds(field: str, value: Any) -> float | None:
    """A finite number above 0; infinity is None."""
    allowed = "must be milliseconds above 0, or null for no limit"
    if isinstance(value, float) and value == math.inf:
        return None
    number = real(field, value, allowed)
    if not 0.0 < number <= HIGHEST:
        raise InputError(field, value, allowed)
    return number


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
