"""Statistics over paired seeds: every policy met the same days, so that differences are taken day by day."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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

    @property
    def known(self) -> float | None:
        """The value; None for what is unknown."""
        return None if math.isnan(self.value) else self.value

    def in_words(self, form: str, unit: float = 1.0) -> str:
        """For a reader: the value alone, in units of `unit`; "-" for what is unknown."""
        return "-" if math.isnan(self.value) else f"{self.value * unit:{form}}"

    def with_interval(self, form: str, unit: float = 1.0) -> str:
        """For a reader: value and interval, where that has any width, in units of `unit`; "-" for what is unknown."""
        low, high = self.ci or (self.value, self.value)
        return self.in_words(form, unit) + (f" [{low * unit:{form}}, {high * unit:{form}}]" if low < high else "")


@dataclass(frozen=True)
class Scale:
    """A scale on which the interval of a mean is symmetric, so that its ends are values that there can be.

    `to` and `back` lead to the scale and from it, `slope` is the derivative of `to`; `within` are the ends of what
    there can be, where nothing but the value itself is left.
    """

    to: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    within: Interval

    def interval(self, value: float, half: float) -> Interval:
        """The interval about a mean whose error is `half` there, by the delta method."""
        if half == 0.0 or not self.within[0] < value < self.within[1]:
            return value, value
        centre, half = self.to(value), half * self.slope(value)
        # The way there and back may be off by a last digit.
        return min(self.back(centre - half), value), max(self.back(centre + half), value)


PLAIN = Scale(lambda x: x, lambda x: x, lambda x: 1.0, (-math.inf, math.inf))
"""Of what may be any number."""

POSITIVE = Scale(math.log, math.exp, lambda x: 1.0 / x, (0.0, math.inf))
"""The logarithm: of times, rates and energies."""

SHARE = Scale(
    lambda x: math.log(x) - math.log1p(-x),
    lambda x: 1.0 / (1.0 + math.exp(-x)),
    lambda x: 1.0 / (x * (1.0 - x)),
    (0, 1),
)
"""The logit: of shares."""

SHARE_DIFFERENCE = Scale(math.atanh, math.tanh, lambda x: 1.0 / (1.0 - x * x), (-1.0, 1.0))
"""The inverse hyperbolic tangent: of differences of shares."""


def mean(values: Sequence[float], scale: Scale = PLAIN) -> Estimate:
    """Mean with a t interval, symmetric on a scale; no interval for what is unknown (NaN) on some day."""
    value = float(np.mean(values))
    if math.isnan(value):
        return Estimate(value, None)
    found = _estimate(value, np.asarray(values) - value)
    return found if found.ci is None else Estimate(value, scale.interval(value, found.ci[1] - value))


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
