"""Traces of embedding rows with locality: a Zipf law, or a given profile of LRU stack distances.

The stack distance of a use is the number of distinct other rows used since this row was used last (0: the same row
again), infinite for a row never used before. A cache of s rows with LRU replacement hits exactly the uses with a
distance below s, so that the profile of distances says how much a cache of any size helps (Mattson et al., IBM Systems
Journal 1970).
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.jit import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_HASH = np.int64(2_654_435_761)
_COLD = np.int64(-1)


def scatter(ranks: Ints, rows: int) -> Ints:
    """Ranks spread over the table by a multiplicative hash (one to one: its factor is prime, and above `rows`)."""
    return (ranks * _HASH) % np.int64(rows)


def zipf_ranks(rng: np.random.Generator, rows: int, count: int, exponent: float) -> Ints:
    """`count` ranks from 0 with P(rank k) proportional to (k + 1)^-exponent over `rows` ranks, exactly.

    By rejection from the integral of the law (Hoermann and Derflinger, ACM TOMACS 1996), which needs no table.
    """

    def integral(x: Floats) -> Floats:  # of t^-exponent from 1 to x
        logarithm = np.log(x)
        return logarithm if exponent == 1.0 else np.expm1((1.0 - exponent) * logarithm) / (1.0 - exponent)

    def inverse(y: Floats) -> Floats:
        if exponent == 1.0:
            return np.exp(y)
        return np.exp(np.log1p(np.maximum(y * (1.0 - exponent), -1.0)) / (1.0 - exponent))

    lowest, highest = integral(np.array([1.5]))[0] - 1.0, integral(np.array([rows + 0.5]))[0]
    drawn = np.empty(0, dtype=np.int64)
    while len(drawn) < count:
        wanted = int(1.2 * (count - len(drawn))) + 16
        y = lowest + rng.random(wanted) * (highest - lowest)
        rank = np.clip(np.rint(inverse(y)), 1, rows)
        kept = y >= integral(rank + 0.5) - rank**-exponent
        drawn = np.concatenate([drawn, rank[kept].astype(np.int64) - 1])
    return drawn[:count]


@dataclass(frozen=True)
class StackProfile:
    """Probabilities of stack distances: `distances` ascending, the last one math.inf if new rows occur."""

    distances: tuple[float, ...]
    probabilities: tuple[float, ...]

    @property
    def deepest(self) -> int:
        """Largest finite distance; -1 if there is none."""
        return max((int(distance) for distance in self.distances if distance < math.inf), default=-1)

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        """`count` distances; -1 for a new row."""
        values = np.array([_COLD if distance == math.inf else int(distance) for distance in self.distances])
        edges = np.cumsum(self.probabilities)
        place = np.searchsorted(edges / edges[-1], rng.random(count), side="right")
        return values[np.minimum(place, len(values) - 1)]


def read_stack_profile(path: Path) -> StackProfile:
    """Read a CSV with columns distance (whole, or inf for new rows) and probability, which must sum to 1 (to 0.1 %)."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("index_distribution", f"stack:{path}", f"must be a readable CSV ({error})") from None
    if not rows or not {"distance", "probability"} <= rows[0].keys():
        raise InputError("index_distribution", f"stack:{path}", "must hold the columns distance, probability")
    entries: dict[float, float] = {}
    for number, row in enumerate(rows, start=2):
        distance = _number(path, number, row, "distance")
        if distance in entries or (distance != math.inf and distance != int(distance)):
            raise InputError(f"{path.name} line {number}, distance", row["distance"], "must be whole or inf, each once")
        entries[distance] = _number(path, number, row, "probability")
    total = sum(entries.values())
    if not abs(total - 1.0) <= 1e-3:
        raise InputError("index_distribution", f"stack:{path}", f"must hold probabilities of sum 1, not {total:.6g}")
    ascending = sorted(entries)
    return StackProfile(tuple(ascending), tuple(entries[distance] / total for distance in ascending))


def _number(path: Path, line: int, row: dict[str, Any], column: str) -> float:
    try:
        value = float(row[column] or "")
    except (ValueError, TypeError):
        value = math.nan
    if not value >= 0.0:
        raise InputError(f"{path.name} line {line}, {column}", row[column], "must be a number of at least 0")
    return value


class LruStack:
    """The rows of one table by when they were used last, and the trace that follows given stack distances.

    It starts as if `warm` rows had been used, so that distances below `warm` mean something from the first use on.
    Uses are marked on a line of slots in the order of time, each row at its last use; a Fenwick tree over the marks
    finds the row at a depth in O(log n). New rows come in scattered order; when all `rows` were used, the row that was
    not used for longest takes the place of a new one.
    """

    def __init__(self, rows: int, warm: int) -> None:
        self.rows, self.size = rows, warm
        slots = 2 * warm + 1024
        self._at = np.zeros(slots, dtype=np.int64)
        self._at[:warm] = scatter(np.arange(warm, dtype=np.int64), rows)
        self._tree = np.zeros(slots + 1, dtype=np.int64)
        self._used = np.zeros(slots, dtype=np.bool_)
        self._used[:warm] = True
        _plant(self._tree, self._used)
        self._next = warm  # the first free slot

    def content(self) -> Ints:
        """The rows used so far, the one used last first."""
        return self._at[: self._next][self._used[: self._next]][::-1].copy()

    def follow(self, distances: Ints) -> Ints:
        """The rows of the next uses, one for each distance (-1: a new row)."""
        if self._next + len(distances) > len(self._at):
            self._make_room(len(distances))
        out = np.empty(len(distances), dtype=np.int64)
        arrays = distances, out, self._at, self._used, self._tree
        self.size = _follow(*arrays, self._next, self.size, self.rows, int(_HASH))
        self._next += len(distances)
        return out

    def _make_room(self, uses: int) -> None:
        rows = self.content()[::-1]
        slots = 2 * (len(rows) + uses) + 1024
        self._at, self._used = np.zeros(slots, dtype=np.int64), np.zeros(slots, dtype=np.bool_)
        self._at[: len(rows)], self._used[: len(rows)] = rows, True
        self._tree = np.zeros(slots + 1, dtype=np.int64)
        _plant(self._tree, self._used)
        self._next = len(rows)


def stack_distances(trace: Ints) -> Ints:
    """The LRU stack distance of every use of a trace, -1 where the row is new; exact, in O(n log n)."""
    rows, compact = np.unique(trace, return_inverse=True)
    return np.asarray(_distances(compact.astype(np.int64), len(rows)))


@compiled
def _plant(tree: Ints, marks: NDArray[np.bool_]) -> None:
    """Build the Fenwick tree (from 1) of the marks (from 0)."""
    for place in range(1, len(tree)):
        tree[place] += marks[place - 1]
        above = place + (place & -place)
        if above < len(tree):
            tree[above] += tree[place]


@compiled
def _follow(
    distances: Ints,
    out: Ints,
    at: Ints,
    used: NDArray[np.bool_],
    tree: Ints,
    free: int,
    size: int,
    rows: int,
    factor: int,
) -> int:
    top = 1
    while 2 * top < len(tree):
        top *= 2
    for use in range(len(distances)):
        distance = distances[use]
        if distance < 0 and size < rows:
            row = (size * factor) % rows
            size += 1
        else:
            wanted = size - distance if distance >= 0 else 1  # from the bottom of the stack, counted from 1
            place, step = 0, top
            while step > 0:  # the last place with fewer than `wanted` marks up to it
                if place + step < len(tree) and tree[place + step] < wanted:
                    place += step
                    wanted -= tree[place]
                step //= 2
            row = at[place]
            used[place] = False
            node = place + 1
            while node < len(tree):
                tree[node] -= 1
                node += node & -node
        at[free], used[free] = row, True
        node = free + 1
        while node < len(tree):
            tree[node] += 1
            node += node & -node
        out[use] = row
        free += 1
    return size


@compiled
def _distances(trace: Ints, rows: int) -> Ints:
    out = np.empty(len(trace), dtype=np.int64)
    tree = np.zeros(len(trace) + 1, dtype=np.int64)
    last = np.full(rows, -1, dtype=np.int64)
    for use in range(len(trace)):
        before = last[trace[use]]
        out[use] = -1
        if before >= 0:
            between = 0
            node = use
            while node > 0:
                between += tree[node]
                node -= node & -node
            node = before + 1
            while node > 0:
                between -= tree[node]
                node -= node & -node
            out[use] = between
            node = before + 1
            while node < len(tree):
                tree[node] -= 1
                node += node & -node
        node = use + 1
        while node < len(tree):
            tree[node] += 1
            node += node & -node
        last[trace[use]] = use
    return out
