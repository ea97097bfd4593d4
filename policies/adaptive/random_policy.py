"""Uniformly random settings, the floor of every comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RandomPolicy:
    """A fresh uniform action each window, whatever was run before; `rungs` are the lengths of the ladders.

    The same day has the same actions, another day others: an action is drawn by a generator whose seed is `seed` and
    all that the episode has shown so far. Episodes that begin with the same observation, of an idle node, begin with
    the same action. `state` holds a digest of what was seen, one for each environment.
    """

    def __init__(self, rungs: Sequence[int], seed: int) -> None:
        self._rungs = tuple(rungs)
        self._start = hashlib.sha256(str(seed).encode()).digest()

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """A random action for each observation; without a state, or at an episode's start, its first."""
        seen = np.atleast_2d(observation)
        starts = np.broadcast_to(state is None if episode_start is None else episode_start, len(seen))
        before = [self._start] * len(seen) if state is None else state
        state = tuple(
            hashlib.sha256((self._start if start else known) + row.tobytes()).digest()
            for row, known, start in zip(seen, before, starts, strict=True)
        )
        actions = np.array([self._drawn(digest) for digest in state])
        return (actions if np.ndim(observation) == 2 else actions[0]), state

    def _drawn(self, digest: bytes) -> NDArray[np.int64]:
        return np.random.default_rng(int.from_bytes(digest, "little")).integers(0, self._rungs)
