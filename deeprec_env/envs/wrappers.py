"""Other shapes of the action, for algorithms that can't take `MultiDiscrete`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError

Observation = NDArray[np.float32]


def _sizes(env: gym.Env[Any, Any]) -> NDArray[np.int64]:
    """Lengths of the ladders; `InputError` where the action is not one index on each of several."""
    if not isinstance(env.action_space, gym.spaces.MultiDiscrete):
        raise InputError("env", env.action_space, "must have a MultiDiscrete action space")
    return np.asarray(env.action_space.nvec, dtype=np.int64)


class DiscreteActions(gym.ActionWrapper[Observation, Any, NDArray[np.int64]]):
    """One whole number for all indices, the last one changing fastest (for DQN)."""

    def __init__(self, env: gym.Env[Observation, NDArray[np.int64]]) -> None:
        super().__init__(env)
        self._sizes = _sizes(env)
        self.action_space = gym.spaces.Discrete(int(self._sizes.prod()))

    def action(self, action: Any) -> NDArray[np.int64]:
        """The indices of a number."""
        if not self.action_space.contains(action):
            raise InputError("action", action, f"must be in {self.action_space}")
        return np.array(np.unravel_index(int(action), self._sizes), dtype=np.int64)


class BoxActions(gym.ActionWrapper[Observation, Any, NDArray[np.int64]]):
    """Numbers from -1 to 1, one for each ladder: from its first rung to its last, in equal steps (for SAC and TD3)."""

    def __init__(self, env: gym.Env[Observation, NDArray[np.int64]]) -> None:
        super().__init__(env)
        self._sizes = _sizes(env)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (len(self._sizes),), np.float32)

    def action(self, action: Any) -> NDArray[np.int64]:
        """The indices of the rungs in whose step the numbers lie."""
        given = np.asarray(action, dtype=np.float64)
        if given.shape != self._sizes.shape or not np.isfinite(given).all():
            raise InputError("action", action, f"must be {len(self._sizes)} finite numbers")
        step = np.floor((np.clip(given, -1.0, 1.0) + 1.0) / 2.0 * self._sizes)
        return np.minimum(step, self._sizes - 1).astype(np.int64)
