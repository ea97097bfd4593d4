from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprec_env import load_scenario
from deeprec_env.envs import CapacityEnv
from deeprec_env.envs.capacity_task import START, STEP, reference_qps
from deeprec_env.envs.observation import CAPACITY_FIELDS
from deeprec_env.envs.rewards import CAPACITY_REWARDS, Scale
from deeprec_env.envs.vector import CapacityVectorEnv
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.windows import Window
from deeprec_env.workload import QueryStream, episode_seed
from tests.conftest import day_scenario
from tests.envs.episodes import INFO, episode
from tests.simulation.random_scenarios import scenarios

CAPACITY_OF_IT = {"qps": 1500, "batch_size": 64, "threshold": 256, "found_by": "a test"}


def scenario(**changes: Any) -> dict[str, Any]:
    return day_scenario(capacity=CAPACITY_OF_IT, **changes)


def make(windows: int = 12, **arguments: Any) -> CapacityEnv:
    env = CapacityEnv(**{"scenario": scenario()} | arguments)
    env.windows = windows
    return env


def actions(seed: int, count: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, [13, 13], (count, 2))


@settings(max_examples=40)
@given(node=scenarios(), qps=st.floats(0.5, 20.0), seed=st.integers(0, 99))
def test_both_engines_agree_on_any_node(node: Any, qps: float, seed: int) -> None:
    sizes = {"kind": "lognormal", "mu": 1.0, "sigma": 0.8, "high": 9}
    found = node.replace(
        workload={"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": sizes},
        control={"batch_sizes": [1, 2, 6], "thresholds": [2, 4, None] if node.has_accelerator else None},
        capacity=CAPACITY_OF_IT | {"qps": qps, "threshold": None},
    )
    chosen = np.random.default_rng(seed).integers(0, [3, len(found.thresholds)], (6, 2))
    results = []
    for engine in ("compiled", "asyncio"):
        env = make(6, scenario=found, engine=engine)
        out = episode(env, chosen, seed)
        records = env.finish()
        env.close()
        results.append((out, records.arrival_s.tobytes(), records.completion_s.tobytes()))
    assert results[0] == results[1]


def test_info_and_observation_have_their_fields() -> None:
    env = make()
    _, start = env.reset(seed=0)
    assert set(start) == INFO | {"carried_qps", "load_qps", "reference_qps"}
    assert start["carried_qps"] == 0.0
    observation, reward, _, _, info = env.step(np.array([5, 4]))
    assert set(info) == set(start)
    assert all(type(value) is float for value in [*info.values(), *start.values()])
    assert observation.shape == (len(CAPACITY_FIELDS),)
    seen = dict(zip(CAPACITY_FIELDS, observation.tolist(), strict=True))
    assert seen["offered"] == pytest.approx(info["offered_qps"] / 1500, rel=1e-6)
    assert reward == info["carried_qps"] / info["reference_qps"] <= info["completed_qps"] / 1500
    assert seen["load"] == pytest.approx((math.log(info["load_qps"] / 1500, STEP) + 47) / 57)
    assert start["load_qps"] / 1500 < info["load_qps"] / 1500 < STEP ** (START[1] + 1.5)


def test_the_documentation_names_every_field_of_the_observation() -> None:
    assert CapacityEnv.__doc__ is not None
    rows = [line for line in CapacityEnv.__doc__.splitlines() if line.strip().startswith("|")][2:]
    named = [name.strip() for row in rows for name in row.split("|")[2].split(",")]
    assert tuple(named) == CAPACITY_FIELDS


def test_the_load_rises_within_the_target_falls_above_it_and_is_held_between() -> None:
    env = make(120)
    moves: dict[str, set[int]] = {"below": set(), "between": set(), "above": set()}
    for seed in range(3):
        _, info = env.reset(seed=seed)
        for _ in range(env.windows):
            before = info["load_qps"]
            _, _, _, _, info = env.step(np.array([4, 4]))
            where = info["p95_ms"] / info["sla_ms"]
            moved = round(math.log(info["load_qps"] / before, STEP))
            moves["above" if where > 1 else "below" if where < 1 / 1.1 else "between"].add(moved)
    assert moves == {"below": {1}, "between": {0}, "above": {-1}}


def test_the_load_stays_on_its_grid_and_without_a_sample_where_it_is() -> None:
    slow = scenario(sla_ms=40)
    slow["node"]["cpu"] = {"servers": 1, "latency": {"kind": "constant", "ms": 5000}}
    env = make(100, scenario=slow)
    _, start = env.reset(seed=0)
    _, _, _, _, info = env.step(np.array([12, 12]))  # every query in flight, the oldest over the target
    assert info["completed_qps"] == 0.0
    for _ in range(99):
        _, reward, _, _, info = env.step(np.array([12, 12]))
    assert reward == 0.0
    assert info["load_qps"] == pytest.approx(1500 * STEP**-47)
    fast = make(100, scenario=scenario(sla_ms=1000, control={"interval_s": 0.01}))
    assert fast.interval_s == 2.0  # two targets
    slow["node"]["cpu"]["latency"]["ms"] = 1.0
    slow["workload"]["arrivals"] = {"kind": "poisson", "qps": 1}
    rare = make(100, scenario=slow | {"capacity": CAPACITY_OF_IT | {"qps": 0.001}})
    _, start = rare.reset(seed=0)
    assert {rare.step(np.array([12, 12]))[4]["load_qps"] for _ in range(100)} == {start["load_qps"]}


def test_one_seed_is_the_same_traffic_stretched() -> None:
    unit = load_scenario(scenario()).with_arrivals({"kind": "poisson", "qps": 1.0})
    points = QueryStream(unit.workload, episode_seed(5, "test")).draw(4000)
    for seed in (1, 2):
        env = make(30)
        _, info = env.reset(seed=5, options={"split": "test"})
        rates = []
        for action in actions(seed, 30):
            rates.append(info["load_qps"])
            _, _, _, _, info = env.step(action)
        records = env.finish()
        assert records.items.tolist() == points.items[: len(records)].tolist()
        begins = np.arange(31) * env.interval_s
        reached = np.concatenate([[0.0], np.cumsum(np.array(rates) * env.interval_s)])
        mapped = np.interp(points.arrival_s[: len(records)], reached, begins)
        assert records.arrival_s == pytest.approx(mapped, abs=1e-9)
        assert len(records) == (points.arrival_s < reached[-1]).sum()
        assert (np.diff(records.arrival_s) >= 0).all()
        assert min(rates) != max(rates)


def test_episodes_start_anywhere_in_their_range_and_splits_are_disjoint() -> None:
    env = make(1)
    for split in ("train", "validation", "test"):
        starts = {env.reset(seed=seed, options={"split": split})[1]["load_qps"] for seed in range(200)}
        expected = 1500 * STEP ** np.arange(START[0], START[1] + 1)
        assert sorted(starts) == pytest.approx(expected.tolist())
    seen = set()
    for split in ("train", "validation", "test"):
        for again in ({"seed": 0}, {}):
            env.reset(options={"split": split}, **again)
            env.step(np.array([4, 4]))
            seen.add(env.finish().items.tobytes())
    assert len(seen) == 6


def test_the_reference_is_the_capacity_or_what_the_best_settings_could_keep_up_with() -> None:
    assert reference_qps(load_scenario(scenario())) == 1500
    without = load_scenario(day_scenario())
    reference = reference_qps(without)
    able = [
        all(demand.load(reference * 0.999) < 1 for demand in service_demands(without, Setting(size, limit)))
        for size in without.control.batch_sizes
        for limit in without.thresholds
    ]
    assert any(able)
    assert make(scenario=day_scenario()).reset(seed=0)[1]["reference_qps"] == reference


def test_rewards_are_their_formulas() -> None:
    window = Window(0, 2, 0, 0.5, 0, 0.25, 80, 50, 40, 1, 0.5, 0, 0, 4.0)
    scale = Scale(sla_s=1.0, full_w=8.0, reference_qps=100.0)
    assert CAPACITY_REWARDS["carried"](window, scale) == 0.3  # 60 of 80 in 2 s
    assert CAPACITY_REWARDS["efficiency"](window, scale) == pytest.approx(0.3 - 0.5 * 4 / 16)
    assert [reward(Window.empty(), scale) for reward in CAPACITY_REWARDS.values()] == [0.0, 0.0]


def test_ppo_trains_on_it() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.vec_env import VecMonitor

    from deeprec_env.agents.vec_env import NodeVecEnv

    several = CapacityVectorEnv(2, scenario())
    several.windows = 8
    venv = VecMonitor(NodeVecEnv(several))
    model = sb3.PPO("MlpPolicy", venv, n_steps=16, batch_size=16, device="cpu", policy_kwargs={"net_arch": [8]}, seed=0)
    before = model.policy.action_net.weight.detach().clone()
    model.learn(64)
    assert (model.policy.action_net.weight != before).any()
    assert model.ep_info_buffer[0]["l"] == 8
    action, _ = model.predict(make().reset(seed=0)[0])
    assert several.single_action_space.contains(action)
