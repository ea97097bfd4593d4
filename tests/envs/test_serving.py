from __future__ import annotations

import math
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from deeprec_env import InputError, load_scenario
from deeprec_env.envs import SERVING, ServingEnv
from deeprec_env.envs.observation import FIELDS
from deeprec_env.envs.rewards import REWARDS, Scale
from deeprec_env.simulation import Records
from deeprec_env.simulation.windows import Window
from deeprec_env.workload import QueryStream, episode_seed
from tests.conftest import day_scenario
from tests.envs.episodes import INFO


def make(**arguments: Any) -> ServingEnv:
    return ServingEnv(**{"scenario": day_scenario()} | arguments)


def whole_day(env: ServingEnv) -> Records:
    for _ in range(env.windows):
        env.step(np.array([8, len(env.thresholds) - 1]))
    return env.finish()


def actions(seed: int, count: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, [13, 13], (count, 2))


def test_info_and_observation_have_their_fields() -> None:
    env = make()
    observation, info = env.reset(seed=0)
    assert set(info) == INFO
    assert all(type(value) is float for value in info.values())
    assert observation.shape == (len(FIELDS),)
    observation, _, _, _, info = env.step(np.array([5, 12]))
    assert set(info) == INFO
    assert all(type(value) is float for value in info.values())
    assert (info["batch_size"], info["threshold"], info["sla_ms"]) == (64.0, math.inf, 60.0)
    seen = dict(zip(FIELDS, observation.tolist(), strict=True))
    assert seen["p95"] == pytest.approx(info["p95_ms"] / 60.0, rel=1e-6)
    assert seen["offered"] == pytest.approx(info["offered_qps"] / 400, rel=1e-6)
    assert seen["cpu_utilisation"] == pytest.approx(info["cpu_utilisation"], rel=1e-6)
    assert (seen["batch_size"], seen["threshold"]) == pytest.approx((5 / 12, 1.0))
    assert seen["day_sin"] == pytest.approx(math.sin(2 * math.pi / 12), rel=1e-5)


def test_the_documentation_names_every_field_of_the_observation() -> None:
    assert ServingEnv.__doc__ is not None
    rows = [line for line in ServingEnv.__doc__.splitlines() if line.strip().startswith("|")][2:]
    named = [name.strip() for row in rows for name in row.split("|")[2].split(",")]
    assert tuple(named) == FIELDS


def test_rewards_are_their_formulas() -> None:
    def window(p95_s: float, violations: float, sample: int = 10) -> Window:
        return Window(0, 1, 0, p95_s, 0, violations, sample, 1, 1, 1, 0.5, 0, 0, 0)

    scale = Scale(sla_s=1.0, full_w=8.0)
    assert REWARDS["tail"](window(0.25, 0.0), scale) == 0.75
    assert REWARDS["tail"](window(math.e, 0.5), scale) == pytest.approx(-1.0 - 2.5)
    assert REWARDS["goodput"](window(2.0, 0.25), scale) == 0.75
    assert REWARDS["efficiency"](window(2.0, 0.25)._replace(energy_j=4.0), scale) == 0.5  # half of full power for 1 s
    assert REWARDS["efficiency"](window(2.0, 0.25), Scale(1.0, 0.0)) == 0.75
    assert [reward(window(0.0, 0.0, 0), scale) for reward in REWARDS.values()] == [0.0] * len(REWARDS)


def test_efficiency_rewards_what_the_node_saves() -> None:
    rewards = []
    for never in (True, False):
        env = make(reward="efficiency")
        env.reset(seed=1, options={"split": "test"})
        threshold = len(env.thresholds) - 1 if never else 0  # everything on the accelerator, or nothing
        total, energy_j = 0.0, 0.0
        for _ in range(env.windows):
            _, reward, _, _, info = env.step(np.array([6, threshold]))
            full_j = (60 + 200) * env.interval_s
            served = 1.0 - info["violation_rate"] - 0.5 * info["energy_j"] / full_j
            assert reward == pytest.approx(served if info["completed_qps"] else 0.0)
            total, energy_j = total + reward, energy_j + info["energy_j"]
        rewards.append((energy_j, total))
    assert rewards[0][0] < rewards[1][0]


def test_rewards_in_the_environment_follow_the_info() -> None:
    env = make(reward="tail")
    env.reset(seed=1)
    for action in actions(1):
        _, reward, _, _, info = env.step(action)
        x = info["p95_ms"] / info["sla_ms"]
        assert reward == pytest.approx((1 - x if x <= 1 else -math.log(x)) - 5 * info["violation_rate"])


def test_test_traffic_is_the_scenarios_own_and_training_varies_its_peak() -> None:
    env = make()
    env.reset(seed=7, options={"split": "test"})
    own = QueryStream(env.scenario.workload, episode_seed(7, "test")).draw_until(1.2)
    assert whole_day(env).arrival_s.tobytes() == own.arrival_s.tobytes()
    counts = []
    env.reset(seed=0)
    for _ in range(30):
        counts.append(len(whole_day(env)))
        env.reset()
    assert min(counts) < 0.7 * 480 < 1.1 * 480 < max(counts)


def test_training_peaks_are_in_capacity_whatever_the_unit_of_the_shape() -> None:
    day = {"kind": "diurnal", "qps": 110, "day_s": 12, "trough": 2, "peak": 4.5, "ceiling": 5, "bursts": 0}
    capacity = {"qps": 400, "batch_size": 25, "found_by": "a test"}
    data = day_scenario(capacity=capacity, control={"interval_s": 1})
    data["workload"]["arrivals"] = day
    env = ServingEnv(data)
    env.reset(seed=0)
    peaks = []
    for _ in range(40):
        arrivals = whole_day(env).arrival_s
        peaks.append(((arrivals > 5) & (arrivals < 7)).sum() / 2 / 400)
        env.reset()
    assert 0.3 < min(peaks) < 0.55
    assert 0.95 < max(peaks) < 1.2


def test_an_action_is_in_force_from_its_windows_start() -> None:
    env = make()
    env.reset(seed=2, options={"split": "test"})
    chosen = actions(4)
    for action in chosen:
        env.step(action)
    records = env.finish()
    window = np.minimum((records.arrival_s / 0.1).astype(int), 11)
    sizes = [env.batch_sizes[chosen[index][0]] for index in window]
    assert records.batch_size.tolist() == sizes


def test_traffic_that_is_no_day_runs_for_96_windows() -> None:
    data = day_scenario()
    data["workload"]["arrivals"] = {"kind": "gamma", "qps": 100, "cv": 2}
    del data["node"]["accelerator"]
    env = ServingEnv(data)
    assert env.windows == 96
    assert env.action_space == gym.spaces.MultiDiscrete([13, 1])
    env.reset(seed=0)
    observation, *_ = env.step(np.array([4, 0]))
    assert observation[-2:].tolist() == [0.0, 0.0]  # there is no time of day


def test_windows_must_divide_the_day() -> None:
    with pytest.raises(InputError, match="must divide the day"):
        make(scenario=day_scenario(control={"interval_s": 0.11}))


def test_references_are_shown_the_node_its_traffic_and_its_rate() -> None:
    env = make(scenario=day_scenario(), engine="compiled").unwrapped
    for ask in (lambda: env.engine, env.traffic, lambda: env.rate_qps(np.zeros(1))):
        with pytest.raises(RuntimeError, match="call reset"):
            ask()
    env.reset(seed=3, options={"split": "test"})
    traffic, middles_s = env.traffic(), (np.arange(96 * 8) + 0.5) * (1.2 / 768)
    assert traffic.arrival_s[-1] < 1.2
    assert env.rate_qps(middles_s).mean() == pytest.approx(400.0)
    for _ in range(12):
        env.step(np.array([4, 4]))
    assert env.engine.now_s == 12 * 0.1
    assert env.finish().arrival_s.tobytes() == traffic.arrival_s.tobytes()
    env.reset()  # in training the peak is drawn, and the rate follows it
    assert env.rate_qps(middles_s).mean() != pytest.approx(400.0, rel=1e-3)


def test_the_first_version_keeps_its_presets() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium says that there is a newer version
        old = gym.make("deeprec_env:DeepRec/Serving-v0", scenario="wnd").unwrapped
        several = gym.make_vec("deeprec_env:DeepRec/Serving-v0", num_envs=2, scenario="wnd").unwrapped
    new = gym.make(f"deeprec_env:{SERVING}", scenario="wnd").unwrapped
    assert isinstance(old, ServingEnv)
    assert isinstance(new, ServingEnv)
    assert old.scenario == several.scenario == load_scenario("v0/wnd")
    assert old.scenario.capacity is not None
    assert old.scenario.capacity.qps == 3740.12  # as published with v0
    assert new.scenario == load_scenario("wnd") != old.scenario
