"""Uniformly random settings, the floor of every comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.schema import Scenario


class RandomPolicy:
    """A fresh uniform action each window, from its own seeded generator."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._sizes = (len(scenario.control.batch_sizes), len(scenario.thresholds))
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """A random action for each observation."""
        shape = (len(observation), 2) if np.ndim(observation) == 2 else (2,)
        return self._rng.integers(0, self._sizes, shape), state
