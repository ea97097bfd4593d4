"""The embedding cache of a two-stage pipeline: one SRAM, split between the stages, on a trace of indices.

After RecPipe's characterisation: the first stage looks up every item, the second those that the filter lets through;
a cache line holds one row, of either stage's model; caches are warmed by one pass of the trace and measured on the
next. What the original calls LRU never renews a row that is hit, and so is FIFO; both are here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints

POLICIES = ("fifo", "lru")
LINE_BYTES = 128
ROW_BYTES = (16, 128)
"""Bytes that one look-up uses at each stage: rows of dim_4 and dim_32."""

HIT_CYCLES, MISS_CYCLES = 1.0, 100.0


@dataclass(frozen=True)
class SplitCache:
    """Hit rates of both stages, of all accesses and of the bytes used, and the mean cycles of an access by bytes."""

    entries: tuple[int, int]
    hit_rates: tuple[float, float]
    of_accesses: float
    of_bytes: float
    cycles: float


def split_entries(cache_bytes: int, share: float) -> tuple[int, int]:
    """Lines of both stages where the first gets `share` (0 to 1) of the cache."""
    if not 0.0 <= share <= 1.0:
        raise InputError("share", share, "must be between 0 and 1")
    return int(cache_bytes * share / LINE_BYTES), int(cache_bytes * (1.0 - share) / LINE_BYTES)


def split_cache(first: Ints, second: Ints, cache_bytes: int, share: float, policy: str = "fifo") -> SplitCache:
    """Simulate both stages' parts of the cache, each on the rows that it looks up in order (whole numbers from 0)."""
    entries = split_entries(cache_bytes, share)
    rates = hit_rate(first, entries[0], policy), hit_rate(second, entries[1], policy)
    return combine(entries, rates, (len(first), len(second)))


def combine(entries: tuple[int, int], rates: tuple[float, float], accesses: tuple[int, int]) -> SplitCache:
    """The whole from its two parts' hit rates and numbers of accesses."""
    used = [count * size for count, size in zip(accesses, ROW_BYTES, strict=True)]
    of_bytes = _mean(rates, used)
    cycles = MISS_CYCLES - (MISS_CYCLES - HIT_CYCLES) * of_bytes
    return SplitCache(entries, rates, _mean(rates, list(accesses)), of_bytes, cycles)


def _mean(rates: tuple[float, float], weights: list[int]) -> float:
    return sum(rate * weight for rate, weight in zip(rates, weights, strict=True)) / sum(weights)


def filtered(trace: Ints, ratio: float) -> Ints:
    """The part of a trace that the second stage sees: its first share, as in the original, or all at a ratio of 1."""
    if not 0.0 < ratio <= 1.0:
        raise InputError("ratio", ratio, "must be above 0 and at most 1")
    return trace[: max(1, int(len(trace) * ratio))]


def hit_rate(rows: Ints, entries: int, policy: str = "fifo", *, warm: bool = True) -> float:
    """Share of accesses to `rows` that a cache of `entries` lines holds; `warm`: after a first pass of the same."""
    if policy not in POLICIES:
        raise InputError("policy", policy, f"must be one of {', '.join(POLICIES)}")
    if entries < 0:
        raise InputError("entries", entries, "must be at least 0")
    if not len(rows) or rows.min() < 0:
        raise InputError("rows", len(rows), "must hold at least one row, none below 0")
    if entries == 0:
        return 0.0
    hits = _hits(rows, int(rows.max()) + 1, entries, policy == "lru", warm)
    return float(hits) / len(rows)


@compiled
def _hits(rows: Ints, kinds: int, entries: int, renew: bool, warm: bool) -> int:
    """Hits of the last pass. Lines are a doubly linked list from the next to go (after `kinds`) to the newest."""
    held = np.zeros(kinds, dtype=np.bool_)
    after = np.empty(kinds + 1, dtype=np.int64)
    before = np.empty(kinds + 1, dtype=np.int64)
    after[kinds] = before[kinds] = kinds
    filled = hits = 0
    for _turn in range(2 if warm else 1):
        hits = 0
        for row in rows:
            if held[row]:
                hits += 1
                if not renew:
                    continue
                after[before[row]], before[after[row]] = after[row], before[row]
            elif filled == entries:
                oldest = after[kinds]
                held[oldest] = False
                after[kinds], before[after[oldest]] = after[oldest], kinds
            else:
                filled += 1
            held[row] = True
            newest = before[kinds]
            after[newest], before[row], after[row], before[kinds] = row, newest, kinds, row
    return hits


def zipf_trace(samples: int, tables: int, rows: int, exponent: float, shift: float, rng: np.random.Generator) -> Ints:
    """Look-ups of `samples` items in `tables` tables, sample by sample: independent, Zipf-Mandelbrot popularity.

    Row k of a table is drawn with weight (k + `shift`) to the power -`exponent`, k = 1 .. `rows`. The rows that are
    looked up are numbered from 0, those of different tables apart.
    """
    weights = zipf_weights(rows, exponent, shift)
    drawn = np.searchsorted(np.cumsum(weights), rng.random((samples, tables)), side="right")
    apart = (np.minimum(drawn, rows - 1) + rows * np.arange(tables)).ravel()
    return np.asarray(np.unique(apart, return_inverse=True)[1], dtype=np.int64)


def zipf_weights(rows: int, exponent: float, shift: float) -> Floats:
    """The probability of each of a table's rows."""
    weights = (np.arange(1, rows + 1) + shift) ** -exponent
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def che_hit_rate(popularity: Floats, entries: int, policy: str = "lru") -> float:
    """Che's approximation of the hit rate where rows are asked for independently, with these probabilities.

    LRU: sum p (1 - exp(-p t)) with the t at which the expected lines are `entries` (Che, Tung and Wang 2002). FIFO:
    the same with p t / (1 + p t) for the share of the time that a row is held (Fricker, Robert and Roberts 2012).
    """
    from scipy.optimize import brentq  # loaded where it is needed

    if policy not in POLICIES:
        raise InputError("policy", policy, f"must be one of {', '.join(POLICIES)}")

    def held(log_t: float) -> Floats:
        x = popularity * np.exp(log_t)
        return np.asarray(-np.expm1(-x) if policy == "lru" else x / (1.0 + x))

    if entries >= len(popularity):
        return 1.0
    log_t = brentq(lambda log_t: float(held(log_t).sum()) - entries, -20.0, 60.0)
    return float(popularity @ held(log_t))
