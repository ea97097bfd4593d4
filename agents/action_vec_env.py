"""Other shapes of the action, for many environments at once."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from deeprec_env.envs.wrappers import ActionMap


class MappedVecEnv(VecEnvWrapper):
    """Any `VecEnv` of `MultiDiscrete` actions under a mapping, which is that of the wrappers for one environment.

    `MappedVecEnv(NodeVecEnv(several), DiscreteActions.mapping)` for DQN, `BoxActions.mapping` for SAC and TD3. Raises
    `InputError` for environments of other actions, and for actions out of range.
    """

    def __init__(self, venv: VecEnv, mapping: type[ActionMap]) -> None:
        self._map = mapping(venv.action_space)
        super().__init__(venv, action_space=self._map.space)

    def reset(self) -> VecEnvObs:
        """First observations."""
        return self.venv.reset()

    def step_async(self, actions: Any) -> None:
        """Take the actions of the next step."""
        self.venv.step_async(self._map.indices(actions))

    def step_wait(self) -> VecEnvStepReturn:
        """Step as the environments do."""
        return self.venv.step_wait()
