"""The split embedding cache over filters, sizes and shares, as RecPipe's characterisation has it, on a synthetic trace.

The original's trace (Criteo Kaggle's five largest tables, four copies of each) was never published. In its stead rows
are drawn independently, by a Zipf-Mandelbrot law whose two parameters and number of rows were fitted with Che's
approximation to the published hit rates of the first stage, and to nothing else.
"""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.memory import check_memory
from deeprec_env.recpipe.chip.embedding_cache import (
    POLICIES,
    SplitCache,
    combine,
    filtered,
    hit_rate,
    split_entries,
    zipf_trace,
)

TABLES, COPIES = 5, 4
ROWS, EXPONENT, SHIFT = 7_200_000, 1.08, 2.74

RATIOS = (0.0625, 0.1, 0.125, 0.2, 0.25)
SIZES_MIB = (1, 2, 4, 6, 8, 12, 16)
SHARES = (0.0, 0.01, 0.03, 0.05, 0.07, 0.09, *(tenth / 10 for tenth in range(1, 10)), 0.91, 0.93, 0.95, 0.97, 0.99, 1.0)


@dataclass(frozen=True)
class Point:
    """A filter's ratio, a size of the cache in MiB, the first stage's share, and what came of it."""

    ratio: float
    mib: int
    share: float
    cache: SplitCache


def sweep(
    samples: int, policy: str = "fifo", *, seed: int = 0, progress: Callable[[int], None] = lambda points: None
) -> list[Point]:
    """All ratios, sizes and shares on `samples` items. The copies of a table miss together: one is simulated."""
    if samples < 1000:
        raise InputError("samples", samples, "must be at least 1000")
    if policy not in POLICIES:
        raise InputError("policy", policy, f"must be one of {', '.join(POLICIES)}")
    if seed < 0:
        raise InputError("seed", seed, "must be a whole number of at least 0")
    check_memory("samples", samples, 24.0 * samples * TABLES)
    trace = zipf_trace(samples, TABLES, ROWS, EXPONENT, SHIFT, np.random.default_rng(seed))

    @functools.cache
    def rate(ratio: float, entries: int) -> float:
        return hit_rate(filtered(trace, ratio), entries // COPIES, policy)

    points = []
    for ratio in RATIOS:
        accesses = len(trace), len(filtered(trace, ratio))
        for mib in SIZES_MIB:
            for share in SHARES:
                entries = split_entries(mib * 2**20, share)
                rates = rate(1.0, entries[0]), rate(ratio, entries[1])
                points.append(Point(ratio, mib, share, combine(entries, rates, accesses)))
                progress(1)
    return points


def best_shares(points: list[Point]) -> dict[tuple[float, int], float]:
    """By ratio and size, the share with the most bytes from the cache."""
    best: dict[tuple[float, int], Point] = {}
    for point in points:
        held = best.get((point.ratio, point.mib))
        if held is None or point.cache.of_bytes > held.cache.of_bytes:
            best[point.ratio, point.mib] = point
    return {key: point.share for key, point in best.items()}


def read_points(path: Path) -> list[Point]:
    """Points of a table in the form of the artifact's embedding_cache.csv; `InputError` names what is wrong."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            points = [_point(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("compare", str(path), f"must be a readable CSV file ({error})") from None
    if not points:
        raise InputError("compare", str(path), "must hold at least one point")
    return points


def _point(path: Path, line: int, row: dict[str, str]) -> Point:
    def number(column: str) -> float:
        try:
            value = float(row[column])
        except (KeyError, TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{path} line {line}, {column}", row.get(column), "must be a number")
        return value

    cache = SplitCache(
        entries=(int(number("entries_stage1")), int(number("entries_stage2"))),
        hit_rates=(number("hitrate_stage1"), number("hitrate_stage2")),
        of_accesses=number("hitrate_accesses"),
        of_bytes=number("hitrate_bytes"),
        cycles=number("amat_cycles"),
    )
    return Point(number("filter_ratio"), int(number("cache_mib")), number("fraction_stage1"), cache)


def agreement(points: list[Point], published: list[Point]) -> dict[str, dict[str, float]]:
    """Of each hit rate: the rank correlation over the points both hold, and the median and largest difference.

    The correlation is not a number where either does not vary.
    """
    from scipy.stats import spearmanr  # loaded where it is needed

    ours = {(point.ratio, point.mib, point.share): point.cache for point in points}
    pairs = [
        (ours[key], theirs.cache) for theirs in published if (key := (theirs.ratio, theirs.mib, theirs.share)) in ours
    ]
    if len(pairs) < 3:
        raise InputError("compare", len(pairs), "must hold at least 3 of the points simulated")
    found = {}
    for name, get in _RATES.items():
        have, want = np.array([[get(cache) for cache in pair] for pair in pairs]).T
        apart = np.abs(have - want)
        vary = bool(np.ptp(have) > 0.0 and np.ptp(want) > 0.0)
        found[name] = {
            "rank_correlation": float(spearmanr(have, want).statistic) if vary else math.nan,
            "median_difference": float(np.median(apart)),
            "largest_difference": float(apart.max()),
        }
    return found


_RATES: dict[str, Callable[[SplitCache], float]] = {
    "stage 1": lambda cache: cache.hit_rates[0],
    "stage 2": lambda cache: cache.hit_rates[1],
    "accesses": lambda cache: cache.of_accesses,
    "bytes": lambda cache: cache.of_bytes,
}
