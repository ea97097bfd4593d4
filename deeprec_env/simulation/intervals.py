"""Confidence intervals from one run, whose latencies are autocorrelated: batch means.

Source: Law, Simulation Modeling and Analysis, chapter 9.
"""

from __future__ import annotations

import math

import numpy as np

from deeprec_env.scenario.parts import Floats

BATCHES = 20
"""Consecutive batches a run is cut into."""

CONFIDENCE = 0.95


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Half-width of a two-sided t interval in standard errors."""
    from scipy.special import stdtrit  # loaded when the first interval is asked for

    return float(stdtrit(degrees, 0.5 + confidence / 2))


def mean_interval(latency_s: Floats) -> tuple[float, float]:
    """Interval for the mean, from the means of consecutive batches of `latency_s` (in order of arrival)."""
    means = np.array([batch.mean() for batch in np.array_split(latency_s, BATCHES)])
    half = t_quantile(BATCHES - 1) * float(means.std(ddof=1)) / math.sqrt(BATCHES)
    centre = float(latency_s.mean())
    return centre - half, centre + half


def quantile_interval(latency_s: Floats, level: float) -> tuple[float, float]:
    """Interval for a quantile, from `latency_s` in order of arrival.

    The share above the overall quantile is a mean, so its error comes from batch means; the interval is the quantile
    at the level less and plus that error. An end that no sample can tell (level 1 or more) is infinite.
    """
    above = latency_s > np.quantile(latency_s, level)
    shares = np.array([batch.mean() for batch in np.array_split(above, BATCHES)])
    half = t_quantile(BATCHES - 1) * float(shares.std(ddof=1)) / math.sqrt(BATCHES)
    low = float(np.quantile(latency_s, max(level - half, 0.0)))
    return low, float(np.quantile(latency_s, level + half)) if level + half < 1.0 else math.inf
