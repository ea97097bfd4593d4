"""The stream of queries: seeds, splits, and the traffic drawn from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Workload

SPLITS = {"train": 0, "validation": 1, "test": 2}
"""Disjoint by construction: train for learning, validation for tuning and checkpoints, test for evaluation only."""

_BLOCK = 4096


@dataclass(frozen=True)
class Traffic:
    """A run's queries and the key of its service noise: all that is random in it.

    `arrival_s` float64 ascending and `items` int64, both (queries,).
    """

    arrival_s: Floats
    items: Ints
    noise_key: int

    def part(self, begin: int, end: int) -> Traffic:
        """The queries from `begin` to before `end`."""
        return Traffic(self.arrival_s[begin:end], self.items[begin:end], self.noise_key)

    def sha256(self) -> str:
        """Fingerprint of arrivals, sizes and noise key."""
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
        """The fingerprint; nothing can be added behind it."""
        self._digest.update(noise_key.to_bytes(8, "little"))
        return self._digest.hexdigest()


def episode_seed(seed: int, split: str = "train", episode: int = 0) -> np.random.SeedSequence:
    """The seed sequence of an episode (0, 1, ...) of a split; `InputError` for an unknown split or a negative seed."""
    if split not in SPLITS:
        raise InputError("split", split, f"must be one of {', '.join(SPLITS)}")
    if seed < 0:
        raise InputError("seed", seed, "must be a whole number of at least 0")
    return np.random.SeedSequence([seed, SPLITS[split]], spawn_key=(episode,))


class QueryStream:
    """Draws traffic in order. Arrivals, sizes, bursts and noise have their own children of `seed`."""

    def __init__(self, workload: Workload, seed: np.random.SeedSequence) -> None:
        fresh = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)  # spawning counts: leave `seed` as it is
        arrivals, sizes, bursts, noise = fresh.spawn(4)
        self.noise_key = int(noise.generate_state(1, np.uint64)[0])
        self._times = workload.arrivals.open(np.random.default_rng(arrivals), np.random.default_rng(bursts))
        self._sizes = workload.sizes.open(np.random.default_rng(sizes))
        self._rate = workload.arrivals.rate(np.random.default_rng(bursts))

    def draw(self, count: int) -> Traffic:
        """The next `count` queries."""
        return Traffic(self._times(count), self._sizes(count), self.noise_key)

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
        arrival_s = np.concatenate([block.arrival_s for block in blocks])
        items = np.concatenate([block.items for block in blocks])
        count = int(np.searchsorted(arrival_s, end_s, side="left"))
        return Traffic(arrival_s[:count], items[:count], self.noise_key)
