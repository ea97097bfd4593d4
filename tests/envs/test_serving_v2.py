"""`DeepRec/Serving-v2` beside v1, and what its entries, infos and rewards hold of queries that are shed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, load_scenario
from deeprec_env.envs import ServingEnv, ServingV2Env
from deeprec_env.envs.observation import FIELDS, V2_FIELDS
from deeprec_env.envs.rewards import REWARDS, Scale
from deeprec_env.envs.serving_v2_task import ServingV2Task, with_further_ladders
from deeprec_env.envs.vector import ServingV2VectorEnv
from deeprec_env.scenario.control import THRESHOLDS
from deeprec_env.scenario.setting import ORDERS, PREDICTED
from deeprec_env.simulation.windows import Window
from tests.conftest import day_scenario, pipeline_day, plans_day
from tests.docs import blocks
from tests.envs.test_vector import assert_same_episodes, drawn_service

OVERLOAD = {"kind": "poisson", "qps": 4000}


def overloaded() -> dict[str, Any]:
    data = day_scenario()
    return data | {"workload": data["workload"] | {"arrivals": OVERLOAD}}


def test_by_threshold_first_come_first_served_with_no_limit_it_is_v1() -> None:
    for data in (day_scenario(), pipeline_day(), plans_day(sub_batches=3)):
        first, second = ServingEnv(data), ServingV2Env(data)
        never = second.scenario.ladders["admit_ms"].index(None)
        assert second.scenario.ladders["offload"][: len(first.thresholds)] == first.thresholds
        rng = np.random.default_rng(0)
        results = [env.reset(seed=5) for env in (first, second)]
        assert results[0][0].tobytes() == results[1][0][:14].tobytes()
        for _ in range(first.windows):
            size, threshold = rng.integers(0, (len(first.batch_sizes), len(first.thresholds)))
            one, two = first.step((size, threshold)), second.step((size, threshold, 0, never))
            assert one[0].tobytes() == two[0][: len(FIELDS)].tobytes()
            assert one[1] == two[1]
            assert one[4] == {name: two[4][name] for name in one[4]}
        assert first.finish().completion_s.tobytes() == second.finish().completion_s.tobytes()


def test_its_entries_and_info_are_what_the_node_measures() -> None:
    env = ServingV2Env(overloaded())
    env.windows = 10
    env.reset(seed=0)
    limit = env.scenario.ladders["admit_ms"].index(0.8 * 60)
    predicted = env.scenario.ladders["offload"].index(PREDICTED)
    shed = 0.0
    for _ in range(10):
        observation, _, _, _, info = env.step((5, predicted, 1, limit))
        entry = dict(zip(V2_FIELDS, observation.tolist(), strict=True))
        assert (info["order"], info["offload"], info["admit_ms"], info["threshold"]) == (1.0, 1.0, 48.0, math.inf)
        assert entry["shed_rate"] == np.float32(info["shed_rate"])
        assert entry["waiting_cpu"] == pytest.approx(math.log1p(info["waiting_cpu"] / 8))
        assert entry["waiting_accelerator"] == pytest.approx(math.log1p(info["waiting_accelerator"]))
        assert entry["predicted"] == pytest.approx(info["predicted_ms"] / 60)
        assert (entry["offload"], entry["order"], entry["admit_ms"]) == pytest.approx((1.0, 0.5, 0.4))
        assert info["goodput"] == pytest.approx(1.0 - info["violation_rate"])
        assert info["violation_rate"] >= 0.9 * info["shed_rate"]  # of arrivals; the other of what completed or was shed
        shed += info["shed_rate"]
        assert 0.0 < info["predicted_ms"] < 120.0
    assert info["waiting_cpu"] > 0.0
    assert shed > 2.0  # of ten windows: far more come than can be served
    records = env.finish()
    assert records.shed.mean() == pytest.approx(shed / 10, abs=0.05)
    assert np.nanmedian(records.latency_s) < 0.060


def test_without_admission_the_same_overload_is_late() -> None:
    goodput = {}
    for limit in (0, 5):
        env = ServingV2Env(overloaded(), reward="goodput")
        env.reset(seed=0)
        goodput[limit] = sum(env.step((5, 13, 0, limit))[1] for _ in range(40))
    assert goodput[0] > 3.0 * goodput[5]


@pytest.mark.parametrize(("reward", "value"), [("tail", 1.0 - 5.0), ("goodput", 0.0), ("efficiency", -0.25)])
def test_a_window_in_which_all_are_shed_is_not_an_empty_one(reward: str, value: float) -> None:
    scale = Scale(sla_s=0.05, full_w=100.0)
    window = Window.empty()._replace(end_s=1.0, energy_j=50.0)
    assert REWARDS[reward](window, scale) == 0.0
    assert REWARDS[reward](window._replace(shed_rate=1.0, violation_rate=1.0), scale) == pytest.approx(value)


def test_ladders_that_a_file_names_are_kept_and_others_are_what_its_node_can_take() -> None:
    whole = with_further_ladders(load_scenario(day_scenario()))
    assert whole.ladders["offload"] == (*THRESHOLDS, PREDICTED)
    assert whole.ladders["order"] == ORDERS
    assert whole.ladders["admit_ms"] == pytest.approx((36.0, 42.0, 48.0, 54.0, 60.0, None))
    assert with_further_ladders(whole) is whole
    own = {"interval_s": 0.1, "orders": ["small-first"], "offloads": [64, "predicted"], "admits_ms": [None, 50]}
    named = ServingV2Task(day_scenario(control=own), "tail")
    assert [list(ladder) for ladder in named.choices[1:]] == [[64, "predicted"], ["small-first"], [None, 50.0]]
    data = day_scenario(sla_ms=0.8)
    del data["node"]["accelerator"]
    short = with_further_ladders(load_scenario(data))
    assert short.ladders["offload"] == (None,)
    assert short.ladders["admit_ms"] == pytest.approx((0.56, 0.64, 0.72, 0.8, None))  # the fastest takes 0.55
    parts = with_further_ladders(load_scenario(plans_day(sub_batches=3)))
    assert parts.ladders["offload"] == (20, 40, None)
    assert parts.ladders["admit_ms"] == (None,)


def test_a_start_that_is_on_no_ladder_has_a_place_too() -> None:
    control = {"interval_s": 0.1, "offload": "predicted", "order": "small-first", "admit_ms": 50}
    ladders = {"offloads": [64, None], "orders": ["fcfs", "least-slack"], "admits_ms": [40, 45, 55, None]}
    env = ServingV2Env(day_scenario(control=control | ladders))
    observation, info = env.reset(seed=0)
    assert observation[-3:].tolist() == [-1.0, -1.0, 0.5]
    assert (info["offload"], info["order"], info["admit_ms"]) == (1.0, 1.0, 50.0)


def test_services_with_and_without_accelerators_share_common_ladders() -> None:
    several = ServingV2VectorEnv(3, drawn_service, ladders="common")
    assert_same_episodes(several, [ServingV2Env(drawn_service, ladders="common") for _ in range(3)], 15)
    data = day_scenario()
    del data["node"]["accelerator"]
    with pytest.raises(InputError, match=r"scenario.1.control.offloads: .*ladders='common'"):
        ServingV2VectorEnv(2, [day_scenario(), data])


def test_the_example_of_its_page_works(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "serving-v2.md"
    exec(blocks(page, "python")[0], {})
    assert 0.0 < float(capsys.readouterr().out) <= 1.0


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_pictures_show_the_further_controls(mode: str) -> None:
    if mode == "rgb_array":
        pytest.importorskip("matplotlib")
    env = ServingV2Env(day_scenario(), render_mode=mode)
    env.reset(seed=0)
    pictures = []
    for action in ((5, 13, 1, 2), (5, 13, 0, 5)):
        env.step(action)
        pictures.append(env.render())
    if mode == "ansi":
        assert "order small-first, offload at predicted, admission limit (ms) 48" in pictures[0]
        assert "order fcfs, offload at predicted, admission limit (ms) never" in pictures[1]
    else:
        assert pictures[1].shape == (600, 800, 3)
        assert (pictures[0] != pictures[1]).any()
