"""The native vector environment as Stable-Baselines3 wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from deeprec_env.envs.vector import NodeVectorEnv
from deeprec_env.errors import InputError


class NodeVecEnv(VecEnv):
    """A thin adapter: `NodeVecEnv(gymnasium.make_vec("deeprec_env:DeepRec/Serving-v1", num_envs=8))`.

    Raises `InputError` for another vector environment (one made with `vectorization_mode="sync"`, a wrapper), and for
    one that starts episodes in the step after the last, where Stable-Baselines3 would take the start for a step.
    """

    def __init__(self, env: NodeVectorEnv) -> None:
        if not isinstance(env, NodeVectorEnv):
            allowed = "must be a NodeVectorEnv, as gymnasium.make_vec without vectorization_mode makes it"
            raise InputError(
                "env", type(env).__name__, f"{allowed}; for single ones take Stable-Baselines3's make_vec_env"
            )
        mode = env.metadata["autoreset_mode"]
        if mode is not AutoresetMode.SAME_STEP:
            raise InputError("env", mode.value, "its autoreset_mode must be SameStep, the default")
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: NDArray[np.int64] = np.empty((0, 2), dtype=np.int64)

    def reset(self) -> VecEnvObs:
        """First observations; the seeds and options set before are used once."""
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        observations, infos = self.env.reset(seed=seeds, options=self._options[0] or None)
        self.reset_infos = _one_by_one(infos)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Take the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step; at an episode's end the infos are the last window's, with `terminal_observation`."""
        observations, rewards, _, truncated, infos = self.env.step(self._actions)
        last = infos.pop("final_obs", None)
        each = _one_by_one(infos if last is None else infos["final_info"])
        if last is not None:
            self.reset_infos = _one_by_one({name: value for name, value in infos.items() if name != "final_info"})
            for info, observation in zip(each, last, strict=True):
                info["terminal_observation"] = observation
        for info, over in zip(each, truncated.tolist(), strict=True):
            info["TimeLimit.truncated"] = over
        return observations, rewards.astype(np.float32), truncated, each

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the vector environment, the same for all."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the vector environment, for all."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Refused: the environments are not objects of their own."""
        raise AttributeError(f"the environments of a NodeVectorEnv have no method {method_name} of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """None of them is."""
        return [False for _ in self._get_indices(indices)]


def _one_by_one(infos: dict[str, Any]) -> list[dict[str, Any]]:
    """Infos of arrays as one dictionary for each environment."""
    names = [name for name in infos if not name.startswith("_")]
    columns: Sequence[list[Any]] = [infos[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
