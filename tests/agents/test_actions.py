from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.vec_env import DummyVecEnv

from deeprec_env import InputError
from deeprec_env.agents.action_vec_env import MappedVecEnv
from deeprec_env.agents.vec_env import NodeVecEnv
from deeprec_env.envs import ServingEnv
from deeprec_env.envs.vector import ServingVectorEnv
from deeprec_env.envs.wrappers import BoxActions, DiscreteActions, MappedActions
from tests.conftest import day_scenario


@pytest.mark.parametrize("wrapper", [DiscreteActions, BoxActions])
def test_many_environments_under_a_mapping_do_what_single_wrapped_ones_do(wrapper: type[MappedActions]) -> None:
    together = MappedVecEnv(NodeVecEnv(ServingVectorEnv(3, day_scenario())), wrapper.mapping)
    apart = [wrapper(ServingEnv(day_scenario())) for _ in range(3)]
    assert together.action_space == apart[0].action_space
    together.seed(5)
    observations = together.reset()
    assert observations.tolist() == [env.reset(seed=5 + i)[0].tolist() for i, env in enumerate(apart)]
    together.action_space.seed(0)
    for _ in range(12):
        actions = np.stack([together.action_space.sample() for _ in apart])
        observations, rewards, dones, infos = together.step(actions)
        for i, env in enumerate(apart):
            observation, reward, _, over, info = env.step(actions[i])
            last = infos[i]["terminal_observation"] if over else observations[i]
            assert last.tolist() == observation.tolist()
            assert (np.float32(reward), over) == (rewards[i], dones[i])
            assert {name: infos[i][name] for name in info} == info
    assert dones.all()
    with pytest.raises(InputError, match="action"):
        together.step(np.full((3, 2), np.nan))


def test_any_vector_environment_of_indices_will_do() -> None:
    several = MappedVecEnv(DummyVecEnv([lambda: ServingEnv(day_scenario())] * 2), DiscreteActions.mapping)
    several.seed(0)
    several.reset()
    _, _, _, infos = several.step(np.array([0, 168]))
    assert [(info["batch_size"], info["threshold"]) for info in infos] == [(8.0, 1.0), (1000.0, np.inf)]


def test_only_native_vectors_that_start_episodes_in_the_same_step_are_adapted() -> None:
    make = {"id": "deeprec_env:DeepRec/Serving-v1", "num_envs": 2, "scenario": day_scenario()}
    assert NodeVecEnv(gym.make_vec(**make)).num_envs == 2
    with pytest.raises(InputError, match="env: got 'SyncVectorEnv'; must be a NodeVectorEnv"):
        NodeVecEnv(gym.make_vec(**make, vectorization_mode="sync"))
    with pytest.raises(InputError, match="env: got 'NextStep'; its autoreset_mode must be SameStep"):
        NodeVecEnv(gym.make_vec(**make, autoreset_mode="NextStep"))
