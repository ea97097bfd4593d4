"""The compiled code that evaluates rows of latency models: once, for both engines."""

from __future__ import annotations

import math

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.latency.normal import normal_quantile
from deeprec_env.latency.row_kinds import AFFINE, CLOCK_S, CONSTANT, EXPONENTIAL, RPACCEL
from deeprec_env.latency.table import LEVELS
from deeprec_env.scenario.parts import Floats, Ints

_INNER = LEVELS[1:-1]


@compiled
def _place_among_batches(row: Floats, items: int) -> tuple[int, float]:
    """Which of a profile's slopes a request of so many items is on, and how far along: above 1 behind the last batch.

    Places are counted rather than searched, without branches that depend on the request.
    """
    batches = int(row[1])
    i = 0
    for batch in range(1, batches - 1):
        i += items >= row[2 + batch]
    below, above = row[2 + i], row[2 + i + 1]
    return i, max((items - below) / (above - below), 0.0)


@compiled
def _profile_s(row: Floats, i: int, weight: float, u: float) -> float:
    """Linear in the batch, constant before the first, by the last slope behind the last; then linear in the level.

    `i`, `weight` are the place among the batches. The levels are known when this is compiled: without branches that
    depend on the noise it is several times faster.
    """
    k = 0
    for level in _INNER:
        k += u >= level
    along = min(max((u - LEVELS[k]) / (LEVELS[k + 1] - LEVELS[k]), 0.0), 1.0)
    here = 2 + int(row[1]) + i * len(LEVELS) + k
    next_ = here + len(LEVELS)
    low = row[here] + weight * (row[next_] - row[here])
    high = row[here + 1] + weight * (row[next_ + 1] - row[here + 1])
    return float(low + along * (high - low))


@compiled
def write_s(row: Floats, items: Ints, u: Floats, seconds: Floats) -> None:
    """Write the seconds of requests of `items` items at noise `u` (rule 9), elementwise."""
    kind = row[0]
    if kind == CONSTANT:
        seconds[:] = row[1]
    elif kind == EXPONENTIAL:
        mean_s = row[1]
        for request in range(len(items)):
            seconds[request] = -mean_s * math.log1p(-u[request])
    elif kind == AFFINE:
        base_ms, per_item_ms, sigma = row[1], row[2], row[3]
        for request in range(len(items)):
            mean_s = (base_ms + per_item_ms * items[request]) * 1e-3
            if sigma > 0.0:
                mean_s = mean_s * math.exp(sigma * normal_quantile(u[request]) - sigma * sigma / 2.0)
            seconds[request] = mean_s
    elif kind == RPACCEL:
        fixed, per_item, per_cycle = row[1], row[2], row[3]
        for request in range(len(items)):
            cycles = fixed + per_item * items[request] + math.floor(items[request] / per_cycle)
            seconds[request] = cycles * CLOCK_S
    else:
        placed, i, weight = -1, 0, 0.0
        for request in range(len(items)):
            if items[request] != placed:  # most requests are as large as the one before
                placed = items[request]
                i, weight = _place_among_batches(row, placed)
            seconds[request] = _profile_s(row, i, weight, u[request])


@compiled
def requests_s(row: Floats, items: Ints, u: Floats) -> Floats:
    """What `write_s` writes, as a new array."""
    seconds = np.empty(len(items))
    write_s(row, items, u, seconds)
    return seconds
