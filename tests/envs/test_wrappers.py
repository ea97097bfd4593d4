from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from deeprec_env import InputError
from deeprec_env.envs import ServingEnv
from deeprec_env.envs.wrappers import BoxActions, DiscreteActions
from tests.conftest import day_scenario


def small() -> ServingEnv:
    return ServingEnv(day_scenario(control={"interval_s": 0.1, "batch_sizes": [8, 64], "thresholds": [128, 512, None]}))


def test_a_number_stands_for_every_pair_of_indices_once() -> None:
    env = DiscreteActions(small())
    assert env.action_space == gym.spaces.Discrete(6)
    assert [env.action(number).tolist() for number in range(6)] == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    with pytest.raises(InputError, match="action"):
        env.action(6)


def test_the_rungs_share_the_range_of_a_box() -> None:
    env = BoxActions(small())
    assert env.action(np.array([-1.0, -1.0])).tolist() == [0, 0]
    assert env.action(np.array([-0.01, -0.34])).tolist() == [0, 0]
    assert env.action(np.array([0.0, -0.33])).tolist() == [1, 1]
    assert env.action(np.array([1.0, 1.0])).tolist() == [1, 2]
    assert env.action(np.array([7.0, -7.0])).tolist() == [1, 0]
    drawn = np.random.default_rng(0).uniform(-1, 1, (6000, 2))
    _, counts = np.unique([env.action(action) for action in drawn], axis=0, return_counts=True)
    assert counts == pytest.approx([1000] * 6, rel=0.15)
    for wrong in (np.array([0.0]), np.array([np.nan, 0.0])):
        with pytest.raises(InputError, match="2 finite numbers"):
            env.action(wrong)


@pytest.mark.parametrize("wrapper", [DiscreteActions, BoxActions])
def test_wrapped_environments_pass_the_checkers_and_wrap_but_once(wrapper: type[gym.Wrapper]) -> None:
    stable_baselines = pytest.importorskip("stable_baselines3.common.env_checker")
    env = wrapper(small())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stable_baselines.check_env(env)
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(env, skip_render_check=True)
    with pytest.raises(InputError, match="MultiDiscrete"):
        wrapper(env)


def test_stable_baselines_trains_through_either() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    for wrapper, algorithm in ((DiscreteActions, sb3.DQN), (BoxActions, sb3.SAC)):
        model = algorithm(
            "MlpPolicy", wrapper(small()), learning_starts=10, device="cpu", policy_kwargs={"net_arch": [8]}
        )
        model.learn(30)
        action, _ = model.predict(wrapper(small()).reset(seed=0)[0])
        assert wrapper(small()).action_space.contains(action)


@pytest.mark.parametrize("wrapper", [DiscreteActions, BoxActions])
def test_what_gymnasium_made_and_wrapped_it_can_check_and_make_again(wrapper: type[gym.Wrapper]) -> None:
    env = wrapper(gym.make("deeprec_env:DeepRec/Serving-v1", scenario=day_scenario()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(env, skip_render_check=True)
    assert env.spec is not None
    again = gym.make(env.spec)
    results = []
    for each in (env, again):
        observation, _ = each.reset(seed=1)
        env.action_space.seed(0)
        results.append([observation.tolist()])
        truncated = False
        while not truncated:
            observation, reward, _, truncated, info = each.step(env.action_space.sample())
            results[-1] += [observation.tolist(), reward, info]
    assert results[0] == results[1]


def test_the_spec_says_how_long_an_episode_is() -> None:
    for name, windows in (("DeepRec/Serving-v1", 96), ("DeepRec/Capacity-v0", 256), ("DeepRec/Pipeline-v0", 96)):
        env = gym.make(f"deeprec_env:{name}")
        assert env.spec is not None
        assert env.spec.max_episode_steps == env.unwrapped.windows == windows
        env.unwrapped.windows = 300  # which no wrapper cuts short
        assert env.unwrapped.spec.max_episode_steps == 300
    assert small().spec is None
