"""What users' arrival processes and size distributions draw, checked where it enters, a block at a time.

The package's own kinds are trusted: they are handed through as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import MOST_ITEMS
from deeprec_env.scenario.parts import ArrivalProcess, ArrivalTimes, Floats, Ints, SizeDistribution


def open_arrivals(process: ArrivalProcess, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
    """The stream of arrival times of `process.open`.

    Drawing raises `InputError`, which names kind and value, for a block of another length than asked for and for times
    that are no numbers, below 0 or earlier than the one before; opening does for a mean rate that is none.
    """
    times = process.open(gaps, bursts)
    if process.is_ours():
        return times
    field, last_s = f"arrivals of kind {process.kind}", 0.0
    if not 0.0 < process.mean_qps < math.inf:
        raise InputError(f"{field}, mean_qps", process.mean_qps, "must be a finite rate above 0")

    def draw(count: int) -> Floats:
        nonlocal last_s
        times_s = np.asarray(times(count), dtype=np.float64)
        _check_shape(field, "time", times_s.shape, count)
        wrong = np.flatnonzero(~((np.diff(times_s, prepend=last_s) >= 0.0) & np.isfinite(times_s)))
        if wrong.size:
            value, before = float(times_s[wrong[0]]), float(times_s[wrong[0] - 1]) if wrong[0] else last_s
            raise InputError(
                field, value, f"must be finite seconds from 0 on, ascending over all blocks (the one before: {before})"
            )
        last_s = float(times_s[-1]) if count else last_s
        return times_s

    return draw


def open_sizes(distribution: SizeDistribution, rng: np.random.Generator) -> Callable[[int], Ints]:
    """The stream of sizes of `distribution.open`.

    Drawing raises `InputError`, which names kind and value, for a block of another length than asked for and for sizes
    that are no whole number of items that a query can have.
    """
    sizes = distribution.open(rng)
    if distribution.is_ours():
        return sizes
    field = f"sizes of kind {distribution.kind}"

    def draw(count: int) -> Ints:
        drawn = np.asarray(sizes(count))
        _check_shape(field, "size", drawn.shape, count)
        if wrong := drawn[~((drawn >= 1) & (drawn <= MOST_ITEMS) & (drawn % 1 == 0))].tolist():
            raise InputError(field, wrong[0], f"must be whole numbers of items from 1 to {MOST_ITEMS}")
        return drawn.astype(np.int64, copy=False)

    return draw


def size_probabilities(distribution: SizeDistribution) -> tuple[Ints, Floats]:
    """`distribution.probabilities`; `InputError` for sizes that can't be and for a sum other than 1."""
    items, probability = distribution.probabilities()
    if not distribution.is_ours():
        field = f"sizes of kind {distribution.kind}, probabilities"
        _check_shape(field, "probability", np.shape(probability), len(items))
        if not len(items) or not (np.min(items) >= 1 and np.max(items) <= MOST_ITEMS):
            raise InputError(field, np.asarray(items).tolist()[:5], f"must be of sizes from 1 to {MOST_ITEMS}")
        if not (np.min(probability) >= 0.0 and abs(float(np.sum(probability)) - 1.0) <= 1e-6):
            raise InputError(field, float(np.sum(probability)), "must sum to 1, none below 0")
    return items, probability


def _check_shape(field: str, what: str, shape: tuple[int, ...], count: int) -> None:
    if shape != (count,):
        raise InputError(field, f"shape {shape}", f"must be one {what} for each of {count}")
