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
    """Interval for the mean, from the means of consecutive batches of `latency_s`, in order of arrival.

    NaN, of queries that were shed, counts for none.
    """
    means = batch_means(latency_s)
    return about(float(_known(latency_s).mean()), half_width(means))


def about(mean_s: float, half: float) -> tuple[float, float]:
    """Interval of a mean latency; not below 0, where no latency can be."""
    return max(mean_s - half, 0.0), mean_s + half


def quantile_interval(latency_s: Floats, level: float) -> tuple[float, float]:
    """Interval for a quantile, from `latency_s` in order of arrival, as in `mean_interval`; see `level_interval`."""
    known = _known(latency_s)
    value_s = np.quantile(known, level)
    above = latency_s > value_s if known is latency_s else np.where(np.isnan(latency_s), np.nan, latency_s > value_s)
    return level_interval(lambda at: float(np.quantile(known, at)), level, half_width(batch_means(above)))


def level_interval(quantile: Callable[[float], float], level: float, half: float) -> tuple[float, float]:
    """Interval for a quantile whose share above is known to within `half`.

    The share above the overall quantile is a mean, so its error comes from batch means; the interval is the quantile
    at the level less and plus that error. An end that no sample can tell (level 1 or more) is infinite.
    """
    return quantile(max(level - half, 0.0)), quantile(level + half) if level + half < 1.0 else math.inf


def batch_means(values: NDArray[Any]) -> Floats:
    """Means of the `BATCHES` consecutive batches, of what is not NaN; NaN of a batch without any."""
    batches = (_known(batch) for batch in np.array_split(values, BATCHES))
    return np.array([batch.mean() if batch.size else math.nan for batch in batches])


def _known(values: NDArray[Any]) -> NDArray[Any]:
    """Those that are not NaN: the array itself if all are."""
    unknown = np.isnan(values)
    return values[~unknown] if unknown.any() else values
