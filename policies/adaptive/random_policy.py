"""Random actions, the floor of every comparison."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray


class RandomPolicy:
    """A fresh sample of an action space each window, whatever was run before.

    The same day has the same actions, another day others: an action is drawn with a seed made of `seed` and all
    that the episode has shown so far. Episodes that begin with the same observation, of an idle node, begin with
    the same action. `state` holds a digest of what was seen, one for each environment.
    """

    def __init__(self, space: gym.Space[Any], seed: int) -> None:
        self._space = copy.deepcopy(space)
        self._start = hashlib.sha256(str(seed).encode()).digest()

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """A random action for each observation; without a state, or at an episode's start, its first."""
        seen = np.atleast_2d(observation)
        starts = np.broadcast_to(state is None if episode_start is None else episode_start, len(seen))
        before = [self._start] * len(seen) if state is None else state
        state = tuple(
            hashlib.sha256((self._start if start else known) + row.tobytes()).digest()
            for row, known, start in zip(seen, before, starts, strict=True)
        )
        actions = [self._drawn(digest) for digest in state]
        return (np.stack(actions) if np.ndim(observation) == 2 else actions[0]), state

    def _drawn(self, digest: bytes) -> Any:
        self._space.seed(int.from_bytes(digest[:4], "little"))
        return self._space.sample()
