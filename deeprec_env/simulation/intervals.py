"""Confidence intervals from one run, whose latencies are autocorrelated: batch means.

Source: Law, Simulation Modeling and Analysis, chapter 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats

BATCHES = 20
"""Consecutive batches a run is cut into."""

CONFIDENCE = 0.95


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Half-width of a two-sided t interval in standard errors."""
    from scipy.special import stdtrit  # loaded when the first interval is asked for

    return float(stdtrit(degrees, 0.5 + confidence / 2))


def batch_sizes(count: int) -> list[int]:
    """Lengths of the `BATCHES` consecutive batches of a run, equal but for one."""
    return [count // BATCHES + (batch < count % BATCHES) for batch in range(BATCHES)]


def half_width(batch_means: Floats) -> float:
    """Half of the interval of a mean, from the means of consecutive batches."""
    return t_quantile(BATCHES - 1) * float(batch_means.std(ddof=1)) / math.sqrt(BATCHES)


def mean_interval(latency_s: Floats) -> tuple[float, float]:
    """Interval for the mean, from the means of consecutive batches of `latency_s` (in order of arrival)."""
    return about(float(latency_s.mean()), half_width(_batch_means(latency_s)))


def about(mean_s: float, half: float) -> tuple[float, float]:
    """Interval of a mean latency; not below 0, where no latency can be."""
    return max(mean_s - half, 0.0), mean_s + half


def quantile_interval(latency_s: Floats, level: float) -> tuple[float, float]:
    """Interval for a quantile, from `latency_s` in order of arrival; see `level_interval`."""
    half = half_width(_batch_means(latency_s > np.quantile(latency_s, level)))
    return level_interval(lambda at: float(np.quantile(latency_s, at)), level, half)


def level_interval(quantile: Callable[[float], float], level: float, half: float) -> tuple[float, float]:
    """Interval for a quantile whose share above is known to within `half`.

    The share above the overall quantile is a mean, so its error comes from batch means; the interval is the quantile
    at the level less and plus that error. An end that no sample can tell (level 1 or more) is infinite.
    """
    return quantile(max(level - half, 0.0)), quantile(level + half) if level + half < 1.0 else math.inf


def _batch_means(values: NDArray[Any]) -> Floats:
    return np.array([batch.mean() for batch in np.array_split(values, BATCHES)])
