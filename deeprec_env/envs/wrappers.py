"""Other shapes of the action, for algorithms that can't take `MultiDiscrete`.

A mapping turns actions, one or many, into indices on the ladders; a wrapper puts it on one environment, and
`deeprec_env.agents.action_vec_env` on many.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError

Observation = NDArray[np.float32]
Indices = NDArray[np.int64]


class ActionMap(ABC):
    """Actions of another shape than `MultiDiscrete`'s; raises `InputError` for a space that is none.

    `space` is that of one such action.
    """

    space: gym.Space[Any]

    def __init__(self, space: gym.Space[Any]) -> None:
        if not isinstance(space, gym.spaces.MultiDiscrete):
            raise InputError("env", space, "must have a MultiDiscrete action space")
        self._sizes: Indices = np.asarray(space.nvec, dtype=np.int64)

    @abstractmethod
    def indices(self, actions: Any) -> Indices:
        """The indices, (ladders,) for one action or (n, ladders) for n; `InputError` for one out of range."""


class Numbers(ActionMap):
    """One whole number for all indices, the last one changing fastest."""

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space)
        self.space = gym.spaces.Discrete(int(self._sizes.prod()))

    def indices(self, actions: Any) -> Indices:
        """The indices of numbers."""
        given = np.asarray(actions)
        if given.dtype.kind not in "iu" or not ((given >= 0) & (given < self._sizes.prod())).all():
            raise InputError("action", actions, f"must be in {self.space}")
        return np.stack(np.unravel_index(given, self._sizes), axis=-1).astype(np.int64)


class Fractions(ActionMap):
    """Numbers from -1 to 1, one for each ladder: from its first level to its last, in equal steps."""

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space)
        self.space = gym.spaces.Box(-1.0, 1.0, (len(self._sizes),), np.float32)

    def indices(self, actions: Any) -> Indices:
        """The indices of the levels in whose step the numbers lie; numbers beyond an end are of its level."""
        given = np.asarray(actions, dtype=np.float64)
        if given.shape[-1:] != self._sizes.shape or not np.isfinite(given).all():
            raise InputError("action", actions, f"must be {len(self._sizes)} finite numbers")
        step = np.floor((np.clip(given, -1.0, 1.0) + 1.0) / 2.0 * self._sizes)
        return np.minimum(step, self._sizes - 1).astype(np.int64)


class MappedActions(gym.ActionWrapper[Observation, Any, Indices], gym.utils.RecordConstructorArgs):
    """An environment under a mapping of actions.

    A subclass names the `mapping`; hyperparameter files may name it as their `env_wrapper`.
    """

    mapping: ClassVar[type[ActionMap]]

    def __init__(self, env: gym.Env[Observation, Indices]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)  # so that `gymnasium.make(env.spec)` makes it again
        gym.ActionWrapper.__init__(self, env)
        self._map = self.mapping(env.action_space)
        self.action_space = self._map.space

    def action(self, action: Any) -> Indices:
        """The indices that the action stands for."""
        return self._map.indices(action)


class DiscreteActions(MappedActions):
    """One whole number for all indices, the last one changing fastest (for DQN)."""

    mapping = Numbers


class BoxActions(MappedActions):
    """Numbers from -1 to 1, one for each ladder: from its first level to its last, in equal steps (for SAC and TD3)."""

    mapping = Fractions
