from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from deeprec_env import InputError
from deeprec_env.envs import SERVING, ServingEnv
from deeprec_env.envs.vector import ServingVectorEnv
from tests.conftest import OwnLatency, day_scenario, pipeline_day


def actions(steps: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 13, (steps, count, 2))


def assert_same(mine: Any, theirs: Any) -> None:
    """Two results of Gymnasium's vector API, to the bit."""
    if isinstance(mine, dict):
        assert sorted(mine) == sorted(theirs)
        for name in mine:
            assert_same(mine[name], theirs[name])
    elif isinstance(mine, tuple):
        for ours, other in zip(mine, theirs, strict=True):
            assert_same(ours, other)
    elif np.asarray(mine).dtype == object:
        assert [entry.tobytes() for entry in mine] == [entry.tobytes() for entry in theirs]
    else:
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype
        assert np.asarray(mine).tobytes() == np.asarray(theirs).tobytes()


@pytest.mark.parametrize("scenario", [day_scenario(), pipeline_day(), day_scenario(sla_ms=1)])
@pytest.mark.parametrize("threads", [1, 3])
def test_it_is_so_many_single_environments(scenario: dict[str, Any], threads: int) -> None:
    several = ServingVectorEnv(5, scenario, threads=threads)
    singles = SyncVectorEnv(
        [lambda: ServingEnv(scenario, engine="asyncio") for _ in range(5)], autoreset_mode=AutoresetMode.SAME_STEP
    )
    for options in ({"split": "test"}, None):
        assert_same(several.reset(seed=4, options=options), singles.reset(seed=4, options=options))
        for action in actions(2 * several.windows + 3, 5):
            assert_same(several.step(action), singles.step(action))
        assert_same(several.reset(), singles.reset())
    several.close()
    several.close()


def test_seeds_may_be_given_one_to_each() -> None:
    several = ServingVectorEnv(3, day_scenario())
    several.reset(seed=[9, 2, 5])
    observations, *_ = several.step(np.full((3, 2), 4))
    for seed, observation in zip((9, 2, 5), observations, strict=True):
        single = ServingEnv(day_scenario())
        single.reset(seed=seed)
        assert single.step(np.array([4, 4]))[0].tobytes() == observation.tobytes()
    with pytest.raises(InputError, match="seed"):
        several.reset(seed=[1, 2])
    several.reset(seed=[None, 1, None])
    several.step(np.full((3, 2), 4))


def test_long_queues_outgrow_the_room_of_the_nodes() -> None:
    overload = day_scenario(control={"batch_size": 8, "interval_s": 0.1})
    overload["workload"]["arrivals"] |= {"qps": 30_000}
    several, single = ServingVectorEnv(2, overload), ServingEnv(overload, engine="asyncio")
    several.reset(seed=1)
    single.reset(seed=1)
    for _ in range(several.windows):
        observations, rewards, _, _, infos = several.step(np.zeros((2, 2), dtype=np.int64))
        observation, reward, _, _, info = single.step(np.zeros(2, dtype=np.int64))
    assert rewards[0] == reward
    assert infos["final_info"]["backlog"][0] == info["backlog"] > 10_000
    assert infos["final_obs"][0].tobytes() == observation.tobytes()
    assert observations[0].tobytes() != observation.tobytes()


def test_make_vec_takes_it_and_declares_its_autoreset() -> None:
    several = gym.make_vec(f"deeprec_env:{SERVING}", num_envs=2, scenario=day_scenario())
    assert isinstance(several.unwrapped, ServingVectorEnv)
    assert several.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observations, infos = several.reset(seed=0)
    assert several.observation_space.contains(observations)
    assert infos["sla_ms"].tolist() == [60.0, 60.0]
    recorded = gym.wrappers.vector.RecordEpisodeStatistics(several)
    recorded.reset(seed=0)
    for action in actions(12, 2):
        *_, infos = recorded.step(action)
    assert infos["episode"]["l"].tolist() == [12, 12]


def test_it_pickles_and_copies_in_mid_episode() -> None:
    several = ServingVectorEnv(4, day_scenario(), threads=2)
    several.reset(seed=3)
    chosen = actions(14, 4)
    for action in chosen[:5]:
        several.step(action)
    twins = [pickle.loads(pickle.dumps(several)), copy.deepcopy(several)]
    for action in chosen[5:]:
        result = several.step(action)
        for twin in twins:
            assert_same(twin.step(action), result)


def test_bad_input_is_refused() -> None:
    for arguments, field in (
        ({"num_envs": 0}, "num_envs"),
        ({"threads": 0}, "threads"),
        ({"engine": "asyncio"}, "engine"),
        ({"reward": "joy"}, "reward"),
        ({"render_mode": "ansi"}, "render_mode"),
    ):
        with pytest.raises(InputError, match=field):
            ServingVectorEnv(**{"num_envs": 2, "scenario": day_scenario()} | arguments)
    several = ServingVectorEnv(2, day_scenario())
    with pytest.raises(RuntimeError, match="call reset"):
        several.step(np.zeros((2, 2), dtype=np.int64))
    several.reset(seed=0)
    for action in (np.full((2, 2), 13), np.zeros((3, 2), dtype=np.int64)):
        with pytest.raises(InputError, match="action"):
            several.step(action)


def test_a_latency_of_the_users_own_needs_single_environments() -> None:
    scenario = day_scenario()
    scenario["node"]["cpu"] = {"servers": 2, "latency": OwnLatency()}
    with pytest.raises(InputError, match="vectorization_mode='sync'"):
        ServingVectorEnv(2, scenario)


def test_stable_baselines_sees_what_its_own_vector_environment_shows() -> None:
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecMonitor

    from deeprec_env.agents.vec_env import NodeVecEnv

    mine = VecMonitor(NodeVecEnv(ServingVectorEnv(3, day_scenario())))
    theirs = make_vec_env(ServingEnv, n_envs=3, env_kwargs={"scenario": day_scenario()})
    for venv in (mine, theirs):
        venv.seed(7)
    assert mine.reset().tobytes() == theirs.reset().tobytes()
    for action in actions(30, 3):
        for ours, other in zip(mine.step(action), theirs.step(action), strict=True):
            if not isinstance(ours, list):
                assert np.asarray(ours).tobytes() == np.asarray(other).tobytes()
                continue
            for info, expected in zip(ours, other, strict=True):
                returns = [given.pop("episode")["r"] for given in (info, expected) if "episode" in given]
                assert returns[:1] == pytest.approx(returns[1:], abs=1e-4)
                assert {name: repr(value) for name, value in info.items()} == {
                    name: repr(value) for name, value in expected.items()
                }
    assert mine.get_attr("windows") == [12, 12, 12]
    mine.close()
