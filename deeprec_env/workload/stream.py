"""The stream of queries: seeds, splits, and the traffic drawn from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.arguments import choice, whole
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Workload
from deeprec_env.workload.checked import open_arrivals, open_sizes

SPLITS = {"train": 0, "validation": 1, "test": 2}
"""Disjoint by construction: train for learning, validation for tuning and checkpoints, test for evaluation only."""

_BLOCK = 4096

_SLOWNESS = 4, 2**31
"""Child and grandchild of an episode's seed that slow phases come from: tasks draw from the fifth child itself, and
steady runs from its first children."""


@dataclass(frozen=True)
class Traffic:
    """A run's queries and the key of its service noise: all that is random in it.

    `arrival_s` float64 ascending, `items` int64 and `query` int64, all (queries,). `query` is each one's number in the
    whole traffic, by which it meets its noise on whatever node it lands; None: 0, 1, ... `slow_key` is the key of the
    slow phases of a node that begins with this traffic (rule 19); None: the noise key again.
    """

    arrival_s: Floats
    items: Ints
    noise_key: int
    query: Ints = None  # type: ignore[assignment]  # an array from here on
    slow_key: int = None  # type: ignore[assignment]  # a number from here on

    def __post_init__(self) -> None:
        if self.slow_key is None:
            object.__setattr__(self, "slow_key", self.noise_key)
        if self.query is None:
            object.__setattr__(self, "query", np.arange(len(self.items), dtype=np.int64))

    @classmethod
    def nothing(cls) -> Traffic:
        """No queries."""
        return cls(np.empty(0), np.empty(0, dtype=np.int64), 0)

    def part(self, begin: int, end: int) -> Traffic:
        """The queries from `begin` to before `end`."""
        return self.chosen(slice(begin, end))

    def chosen(self, queries: slice | NDArray[np.bool_] | Ints) -> Traffic:
        """Some of the queries, which keep their numbers."""
        return Traffic(self.arrival_s[queries], self.items[queries], self.noise_key, self.query[queries], self.slow_key)

    def at(self, arrival_s: Floats) -> Traffic:
        """The same queries at other times."""
        return Traffic(arrival_s, self.items, self.noise_key, self.query, self.slow_key)

    def numbered_from(self, first: int) -> Traffic:
        """The queries with the numbers `first`, `first + 1`, ..."""
        numbers = np.arange(first, first + len(self.items), dtype=np.int64)
        return Traffic(self.arrival_s, self.items, self.noise_key, numbers, self.slow_key)

    @staticmethod
    def joined(parts: Sequence[Traffic]) -> Traffic:
        """Parts of one traffic, one after the other."""
        return Traffic(
            np.concatenate([part.arrival_s for part in parts]),
            np.concatenate([part.items for part in parts]),
            parts[-1].noise_key,
            np.concatenate([part.query for part in parts]),
            parts[-1].slow_key,
        )

    def sha256(self) -> str:
        """Fingerprint of arrivals, sizes and noise key; neither numbers of queries nor slow phases are part of it."""
        seen = Fingerprint()
        seen.add(self.arrival_s)
        seen.add(self.items)
        return seen.hexdigest(self.noise_key)


class Fingerprint:
    """SHA-256 of a traffic: all arrivals, then all sizes, both in as many parts as one likes, then the noise key."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, part: Floats | Ints) -> None:
        """The next part."""
        self._digest.update(np.ascontiguousarray(part).data)

    def hexdigest(self, noise_key: int) -> str:
        """The fingerprint; nothing can be added after it."""
        self._digest.update(noise_key.to_bytes(8, "little"))
        return self._digest.hexdigest()


def episode_seed(seed: int, split: str = "train", episode: int = 0) -> np.random.SeedSequence:
    """The seed sequence of an episode (0, 1, ...) of a split; `InputError` for an unknown split or a negative seed."""
    place = SPLITS[choice("split", split, SPLITS)]
    return np.random.SeedSequence([whole("seed", seed, 0), place], spawn_key=(episode,))


class QueryStream:
    """Draws traffic in order. Arrivals, sizes, bursts, noise and slow phases have their own children of `seed`."""

    def __init__(self, workload: Workload, seed: np.random.SeedSequence) -> None:
        fresh = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)  # spawning counts: leave `seed` as it is
        arrivals, sizes, bursts, noise = fresh.spawn(4)
        slowness = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *_SLOWNESS))
        self.noise_key, self.slow_key = (int(each.generate_state(1, np.uint64)[0]) for each in (noise, slowness))
        generators = np.random.default_rng(arrivals), np.random.default_rng(bursts)
        self._times = open_arrivals(workload.arrivals, *generators)
        self._sizes = open_sizes(workload.sizes, np.random.default_rng(sizes))
        self._rate = workload.arrivals.rate(np.random.default_rng(bursts))
        self.mean_qps = workload.arrivals.mean_qps
        self._drawn = 0

    def draw(self, count: int) -> Traffic:
        """The next `count` queries."""
        drawn = Traffic(self._times(count), self._sizes(count), self.noise_key, slow_key=self.slow_key)
        self._drawn += count
        return drawn.numbered_from(self._drawn - count) if self._drawn > count else drawn

    def rate_qps(self, times_s: Floats) -> Floats:
        """The true rate in queries a second at some times, the bursts drawn for this stream included."""
        return self._rate(times_s)

    def draw_arrivals(self, count: int) -> Floats:
        """When the next `count` queries arrive; their sizes are left to be drawn."""
        return self._times(count)

    def draw_until(self, end_s: float) -> Traffic:
        """The next queries, all that arrive before `end_s` (queries of the last block after it are dropped)."""
        blocks = [self.draw(_BLOCK)]
        while blocks[-1].arrival_s[-1] < end_s:
            blocks.append(self.draw(_BLOCK))
        drawn = Traffic.joined(blocks)
        return drawn.part(0, int(np.searchsorted(drawn.arrival_s, end_s, side="left")))
