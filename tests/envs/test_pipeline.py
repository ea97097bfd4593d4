from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from deeprec_env import InputError, load_scenario
from deeprec_env.envs import PipelineEnv
from deeprec_env.envs.pipeline_day import saturation_qps, with_pipeline_day
from deeprec_env.envs.rewards import PIPELINE_REWARDS, Scale, mean_quality
from deeprec_env.envs.vector import PipelineVectorEnv
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.diurnal import Diurnal
from tests.conftest import plans_day
from tests.envs.episodes import INFO

RUNGS = (4, 3, 3)


def make(**arguments: Any) -> PipelineEnv:
    return PipelineEnv(**{"scenario": plans_day()} | arguments)


def actions(seed: int, count: int = 12, each: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, RUNGS, (count, *each, 3))


def test_actions_and_episodes_are_the_scenarios() -> None:
    env = make(render_mode="ansi")
    assert env.windows == 12
    assert env.action_space == gym.spaces.MultiDiscrete(RUNGS)
    env.reset(seed=0)
    env.step(np.array([2, 0, 0]))
    assert "plan rough\n" in env.render()


def test_info_and_observation_have_their_fields() -> None:
    env = make()
    observation, start = env.reset(seed=0, options={"split": "test"})
    assert set(start) == INFO | {"plan", "quality"}
    assert (start["plan"], start["quality"]) == (0.0, 0.0)
    assert observation.shape == (len(env.fields),)
    assert observation[env.fields.index("plan_0")] == 1.0
    for action in ([2, 1, 2], [2, 1, 2], [1, 2, 0]):
        observation, _, _, _, info = env.step(np.array(action))
    assert set(info) == set(start)
    assert all(type(value) is float for value in [*info.values(), *start.values()])
    assert (info["plan"], info["batch_size"], info["threshold"]) == (1.0, 64.0, 20.0)
    seen = dict(zip(env.fields, observation.tolist(), strict=True))
    assert [seen[f"plan_{plan}"] for plan in range(4)] == [0.0, 1.0, 0.0, 0.0]
    assert seen["quality"] == pytest.approx(info["quality"] / 0.9, rel=1e-6)
    assert seen["offered"] == pytest.approx(info["offered_qps"] / 1500, rel=1e-6)
    assert seen["cpu_utilisation"] == max(seen["filter_cpu"], seen["rank_cpu"])
    assert seen["accelerator_utilisation"] == seen["rank_accelerator"]
    in_stages = sum(math.expm1(seen[f"{name}_backlog"]) for name in ("filter", "rank"))
    assert in_stages == pytest.approx(math.expm1(seen["backlog"]), rel=1e-5)
    assert seen["day_sin"] == pytest.approx(math.sin(2 * math.pi * 3 / 12), rel=1e-5)


def test_the_documentation_names_every_field_of_the_default_scenarios_observation() -> None:
    assert PipelineEnv.__doc__ is not None
    rows = [line for line in PipelineEnv.__doc__.splitlines() if line.strip().startswith("|")][2:]
    named = [name.strip() for row in rows for name in row.split("|")[2].split(",")]
    assert tuple(named) == PipelineEnv().fields


def test_rewards_are_their_formulas() -> None:
    plans = ((40.0, 30.0), (10.0, 10.0))
    window = Window.empty()._replace(sample=50.0, plans=plans)
    scale = Scale(sla_s=1.0, full_w=0.0, qualities=(1.0, 0.9))
    assert PIPELINE_REWARDS["quality"](window, scale) == pytest.approx((30 + 0.9 * 10) / 50)
    assert mean_quality(window, scale.qualities) == pytest.approx((40 + 0.9 * 10) / 50)
    nothing = Window.empty(0, 2)
    assert PIPELINE_REWARDS["quality"](nothing, scale) == mean_quality(nothing, scale.qualities) == 0.0


def test_rewards_and_qualities_in_the_environment_follow_the_records() -> None:
    env, interval_s = make(), 0.1
    env.reset(seed=2, options={"split": "test"})
    chosen = actions(3)
    results = [env.step(action) for action in chosen]
    records = env.finish()
    assert records.plan is not None
    window = np.minimum((records.arrival_s / interval_s).astype(int), 11)
    assert records.plan.tolist() == chosen[window, 0].tolist()
    quality = np.array([0.9, 0.85, 0.7, 0.6])[records.plan]
    kinds = set()
    for index, (_, reward, _, _, info) in enumerate(results):
        begin_s, end_s = index * interval_s, (index + 1) * interval_s
        completed = (begin_s <= records.completion_s) & (records.completion_s < end_s)
        old = (records.completion_s >= end_s) & (end_s - records.arrival_s > env.scenario.sla_s)
        sample = completed | (old & (records.arrival_s < end_s))
        good = quality[completed & (records.latency_s <= env.scenario.sla_s)].sum()
        assert reward == pytest.approx(good / (0.9 * max(sample.sum(), 1)))
        assert info["quality"] == pytest.approx(quality[sample].mean() if sample.any() else 0.0)
        kinds.add(0.0 < info["violation_rate"] < 1.0)
    assert kinds == {True, False}  # some of the queries late, in some of the windows


def test_a_pipeline_without_a_day_gets_one_whose_bursts_a_cheaper_plan_carries() -> None:
    scenario = load_scenario("recpipe-cpu")
    day = with_pipeline_day(scenario)
    arrivals = day.workload.arrivals
    assert isinstance(arrivals, Diurnal)
    assert day.capacity is not None
    best, cheapest = saturation_qps(scenario, 0), saturation_qps(scenario, 5)
    assert day.capacity.qps == best
    assert arrivals.peak_qps == pytest.approx(0.9 * best, rel=1e-5)
    highest = arrivals.peak_qps * arrivals.ceiling / arrivals.peak
    assert best < highest == pytest.approx(1.6 * 0.9 * best, rel=1e-5)
    assert highest < 0.95 * cheapest
    assert PipelineEnv("recpipe-cpu").windows == 96
    assert with_pipeline_day(day) == day

    few = scenario.replace(plans=scenario.plans[:2])  # neither keeps up with more than the other
    arrivals = with_pipeline_day(few).workload.arrivals
    assert isinstance(arrivals, Diurnal)
    assert arrivals.ceiling == pytest.approx(0.95)
    own = scenario.replace(capacity={"qps": 300, "batch_size": 4096, "found_by": "a test"})
    assert with_pipeline_day(own).workload.arrivals.mean_qps == pytest.approx(0.55 * 300)


def test_the_picture_shows_the_plan() -> None:
    pytest.importorskip("matplotlib")
    pictures = []
    for plan in (0, 1):  # two plans of the same work: nothing else differs
        data = plans_day()
        data["plans"][1] |= {"items": data["plans"][0]["items"]}
        env = make(scenario=data, render_mode="rgb_array")
        env.reset(seed=1)
        for _ in range(4):
            env.step(np.array([plan, 0, 0]))
        pictures.append(env.render())
    assert pictures[0].shape == (600, 800, 3)
    rows, columns = np.nonzero((pictures[0] != pictures[1]).any(axis=2))
    assert rows.min() > 400  # in the lower left corner alone
    assert columns.max() < 400


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"scenario": "wnd"}, "plans: got None"),
        ({"scenario": plans_day(quality=None)}, "plans.both.quality: got None"),
        ({"scenario": plans_day(quality=0.0)}, "plans.both.quality: got 0"),
    ],
)
def test_plans_need_qualities(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field):
        make(**arguments)
    with pytest.raises(InputError, match=field):
        PipelineVectorEnv(**{"num_envs": 2, "scenario": plans_day()} | arguments)
