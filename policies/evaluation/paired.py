"""Statistics over paired seeds: every policy met the same days, so that differences are taken day by day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprec_env.simulation.intervals import t_quantile

SMALLEST_GAIN = 0.05
"""Logarithm of grid-day's over rate-oracle's day metric under which there is too little to win to score it."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval over the seeds (None for a single seed)."""

    value: float
    ci: Interval | None

    def as_ratio(self) -> dict[str, Any]:
        """The contract's mapping of a ratio."""
        return {"ratio": self.value, "ci": self.ci and list(self.ci)}

    def with_half(self, form: str, unit: float = 1.0) -> str:
        """For a reader: value and half the interval's width, in units of `unit`."""
        half = "" if self.ci is None else f" ±{(self.ci[1] - self.value) * unit:{form}}"
        return f"{self.value * unit:{form}}{half}"

    def with_interval(self, form: str) -> str:
        """For a reader: value and interval."""
        return f"{self.value:{form}}" + (f" [{self.ci[0]:{form}}, {self.ci[1]:{form}}]" if self.ci else "")


def mean(values: Sequence[float]) -> Estimate:
    """Mean with a t interval."""
    return _estimate(float(np.mean(values)), np.asarray(values) - float(np.mean(values)))


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> Estimate | None:
    """Geometric mean of the paired ratios, with a t interval of their logarithms; None where one is not positive."""
    if min(*mine, *theirs) <= 0.0:
        return None
    logs = np.log(mine) - np.log(theirs)
    found = mean(logs.tolist())
    ci = None if found.ci is None else (math.exp(found.ci[0]), math.exp(found.ci[1]))
    return Estimate(math.exp(found.value), ci)


def score(mine: Sequence[float], grid_day: Sequence[float], rate_oracle: Sequence[float]) -> Estimate | None:
    """ln(grid-day / mine) / ln(grid-day / rate-oracle) of the geometric means of the day metrics.

    None where there is too little to win (`SMALLEST_GAIN`). 0 is the best fixed setting, 1 the rate-oracle. The
    interval is a t interval by the delta method for a ratio of paired means: the spread of won_i - score * possible_i
    over the days i, in what was possible on average.
    """
    won, possible = (np.log(grid_day) - np.log(other) for other in (mine, rate_oracle))
    mean_possible = float(possible.mean())
    if mean_possible < SMALLEST_GAIN:
        return None
    value = float(won.mean()) / mean_possible
    return _estimate(value, (won - value * possible) / mean_possible)


def _estimate(value: float, deviations: np.ndarray[Any, np.dtype[np.float64]]) -> Estimate:
    """A figure whose estimate is the mean of terms with these deviations from it."""
    count = len(deviations)
    if count < 2:
        return Estimate(value, None)
    half = t_quantile(count - 1) * math.sqrt(float(deviations @ deviations) / (count - 1) / count)
    return Estimate(value, (value - half, value + half))
