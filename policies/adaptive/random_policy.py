"""Random actions, the floor of every comparison."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray


class RandomPolicy:
    """A fresh uniform action each window, from its own seeded generator; `rungs` are the lengths of the ladders."""

    def __init__(self, rungs: Sequence[int], seed: int) -> None:
        self._rungs = tuple(rungs)
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """A random action for each observation."""
        each = (len(self._rungs),)
        shape = (len(observation), *each) if np.ndim(observation) == 2 else each
        return self._rng.integers(0, self._rungs, shape), state


class RandomActions:
    """A fresh sample of any action space each window, from its own seeded generator."""

    def __init__(self, space: gym.Space[Any], seed: int) -> None:
        self._space = copy.deepcopy(space)
        self._space.seed(seed)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """A sample for each observation."""
        if np.ndim(observation) == 2:
            return np.stack([self._space.sample() for _ in observation]), state
        return self._space.sample(), state
