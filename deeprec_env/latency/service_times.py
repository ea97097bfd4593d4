"""The compiled code that evaluates rows of latency models: once, for both engines."""

from __future__ import annotations

import math

import numpy as np

from deeprec_env.jit import compiled, uncounted
from deeprec_env.latency.normal import normal_quantile
from deeprec_env.latency.row_kinds import AFFINE, CLOCK_S, CONSTANT, EXPONENTIAL, LEVELLED, RPACCEL
from deeprec_env.latency.table import LEVELS
from deeprec_env.scenario.parts import Floats, Ints

_INNER = LEVELS[1:-1]


@uncounted
def _place_among_batches(row: Floats, items: int) -> tuple[int, float]:
    """Which of a profile's slopes a request of `items` items is on, and how far along: above 1 after the last batch.

    Places are counted rather than searched, without branches that depend on the request.
    """
    batches = int(row[1])
    i = 0
    for batch in range(1, batches - 1):
        i += items >= row[2 + batch]
    below, above = row[2 + i], row[2 + i + 1]
    return i, max((items - below) / (above - below), 0.0)


@uncounted
def _profile_s(row: Floats, i: int, weight: float, u: float) -> float:
    """Linear in the batch, constant before the first, by the last slope after the last; then linear in the level.

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


@uncounted
def _levelled_s(row: Floats, i: int, weight: float, u: float) -> float:
    """The same with the levels that the row holds, and beyond the last with its tail."""
    tail = 2 + int(row[1])
    count, levels = int(row[tail + 1]), tail + 2
    k = 0
    for level in range(levels + 1, levels + count - 1):
        k += u >= row[level]
    below, above = row[levels + k], row[levels + k + 1]
    here = levels + count * (1 + i) + k
    next_ = here + count
    low = row[here] + weight * (row[next_] - row[here])
    high = row[here + 1] + weight * (row[next_ + 1] - row[here + 1])
    if u > above and row[tail] == 1.0:
        scale = max(high - low, 0.0) / math.log((1.0 - below) / (1.0 - above))
        return float(high + scale * math.log((1.0 - above) / (1.0 - u)))
    along = min(max((u - below) / (above - below), 0.0), 1.0)
    return float(low + along * (high - low))


@uncounted
def _exponential_s(row: Floats, u: float) -> float:
    return float(-row[1] * math.log1p(-u))


@uncounted
def _affine_s(row: Floats, items: int, u: float) -> float:
    base_ms, per_item_ms, sigma = row[1], row[2], row[3]
    mean_s = (base_ms + per_item_ms * items) * 1e-3
    if sigma > 0.0:
        mean_s = mean_s * math.exp(sigma * normal_quantile(u) - sigma * sigma / 2.0)
    return float(mean_s)


@uncounted
def _rpaccel_s(row: Floats, items: int) -> float:
    fixed, per_item, per_cycle = row[1], row[2], row[3]
    return float((fixed + per_item * items + math.floor(items / per_cycle)) * CLOCK_S)


@uncounted
def request_s(row: Floats, items: int, u: float) -> float:
    """Seconds of one request of `items` items at noise `u` (rule 9)."""
    kind = row[0]
    if kind == CONSTANT:
        return float(row[1])
    if kind == EXPONENTIAL:
        return _exponential_s(row, u)
    if kind == AFFINE:
        return _affine_s(row, items, u)
    if kind == RPACCEL:
        return _rpaccel_s(row, items)
    i, weight = _place_among_batches(row, items)
    if kind == LEVELLED:
        return _levelled_s(row, i, weight, u)
    return _profile_s(row, i, weight, u)


@compiled
def write_s(row: Floats, items: Ints, u: Floats, seconds: Floats) -> None:
    """Write `request_s` of many requests; the kind is looked at once."""
    kind = row[0]
    if kind == CONSTANT:
        seconds[:] = row[1]
    elif kind == EXPONENTIAL:
        for request in range(len(items)):
            seconds[request] = _exponential_s(row, u[request])
    elif kind == AFFINE:
        for request in range(len(items)):
            seconds[request] = _affine_s(row, items[request], u[request])
    elif kind == RPACCEL:
        for request in range(len(items)):
            seconds[request] = _rpaccel_s(row, items[request])
    elif kind == LEVELLED:
        for request in range(len(items)):
            i, weight = _place_among_batches(row, items[request])
            seconds[request] = _levelled_s(row, i, weight, u[request])
    else:
        for request in range(len(items)):
            if request == 0 or items[request] != items[request - 1]:  # most are as large as the one before
                i, weight = _place_among_batches(row, items[request])
            seconds[request] = _profile_s(row, i, weight, u[request])


@compiled
def requests_s(row: Floats, items: Ints, u: Floats) -> Floats:
    """What `write_s` writes, as a new array."""
    seconds = np.empty(len(items))
    write_s(row, items, u, seconds)
    return seconds
