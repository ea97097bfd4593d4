"""Bad input from Python, by the hundred: an `InputError`, nothing else (command lines: `cli/test_bad_command_lines`).

Each table names a key or an argument, and the values that are none of its own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import deeprec_env
from deeprec_env import InputError, find_capacity, load_scenario, simulate
from tests.conftest import day_scenario, pipeline_day, plans_day

KEYS: dict[str, tuple[Any, ...]] = {
    "sla_ms": (True, False, 0, -1, "many", None, [], {}, math.inf, math.nan, 1e300),
    "p99_factor": (True, 0.5, "many", math.inf),
    "workload.arrivals": (None, 3, "poisson", [], {}, {"kind": "nowhere"}, {"kind": ["a"]}, {"kind": "poisson"}),
    "workload.arrivals.qps": (True, 0, -1, "many", 1e13, None, [3]),
    "workload.arrivals.day_s": (True, 0, -1, "many", 1e-300, 1e300),
    "workload.arrivals.bursts": (True, -1, 1e9),
    "workload.sizes": ({"kind": "fixed", "items": True}, {"kind": "normal", "std": 0}),
    "node": (None, 3, [], {"cpu": None}),
    "node.cpu.servers": (True, False, 0, -1, 1.5, "many", 10**9, 10**30, None),
    "node.cpu.cores": (True, 3),
    "node.cpu.idle_w": (True, -1, 1e300, 1e9),
    "node.cpu.latency": (None, "affine", {"kind": "constant", "ms": True}, {"kind": "constant", "ms": 1e300}),
    "node.cpu.latency.base_ms": (True, -1, 1e300, "many"),
    "node.cpu.latency.cv": (True, -1, 1e9),
    "node.cpu.contention": ({"c": [True, 0, 0]}, {"c": [0, 0, 0]}, {"c": [1]}, {"servers": True}),
    "control.batch_size": (True, 0, 1.5, "many", 10**10),
    "control.batch_sizes": ([True, 8], [], [8, 8], 8, "8"),
    "control.threshold": (True, 0, -1, 1.5, "many", -math.inf, math.nan),
    "control.thresholds": ([False], [], ["never", None], [64, "many"]),
    "control.plan": (True, 1, "both", 1.0),
    "control.interval_s": (True, 0, -1, math.nan),
    "plans": ([], [{"name": "a", "items": [1]}]),
    "control.split": (True, "half", "EVEN", None, ["even"]),
    "control.splits": ([], ["even", "even"], ["half"], "even"),
    "control.order": (True, "lifo", "", None, 0),
    "control.orders": ([], ["fcfs", "fcfs"], ["fcfs", "lifo"], "fcfs"),
    "control.offload": (True, "guess", 64, None),
    "control.offloads": ([], [64, 64], ["guess"], [0], [True], "predicted"),
    "control.admit_ms": (True, 0, -1, 0.5, 1e300, "many", math.nan),
    "control.admits_ms": ([], [60, 60], [60, 0.5], ["many"], 60),
    "node.cpu.batching": ({"max_items": 1000}, True, 3),
    "node.accelerator.batching": (True, 3, {}, {"max_items": 999}, {"max_items": 0}, {"max_items": 1000, "wait": 1}),
    "node.accelerator.batching.max_wait_ms": (True, -1, 1e300, "many", 1.0),
    "sub_batches": (True, 0, 65, 2),
    "schema_version": (2, True, "1"),
    "nowhere": (3,),
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.filterwarnings("error")
def test_bad_values_of_a_scenario_are_refused_and_not_coerced(key: str) -> None:
    for value in KEYS[key]:
        with pytest.raises(InputError) as raised:
            load_scenario(day_scenario(), {key: value})
        assert len(str(raised.value)) < 1500


OBJECTS: tuple[Any, ...] = (object(), [1, 2], {"a": 1}, b"x", 1.5, float("nan"), True, "many")
NODE = day_scenario()

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "qps": (*OBJECTS[:4], OBJECTS[5], True, "5", 0, -1, math.inf),
    "arrivals": (*OBJECTS, "scenario"),
    "batch_size": (*OBJECTS, 0, -1, "8"),
    "threshold": (*OBJECTS, 0, -math.inf),
    "plan": (*OBJECTS, 0, 1),
    "split_rule": (*OBJECTS, 0, "half"),
    "order": (*OBJECTS, 0, "lifo"),
    "offload": (*OBJECTS, 64, "guess"),
    "admit": (*(value for value in OBJECTS if value != 1.5), 0, -1, 0.5, "60"),
    "queries": (*OBJECTS, "2000", 1099, 10**23),
    "seed": (*OBJECTS, -1, "0"),
    "split": OBJECTS,
    "engine": OBJECTS,
    "records": (object(), [1, 2], 1.5, 3, b"x", "out.txt"),
    "coroutines": (object(), 3, [3], "many"),
    "progress": (3, "many", [1]),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_simulate_refuses_wrong_arguments(name: str) -> None:
    for value in ARGUMENTS[name]:
        with pytest.raises(InputError, match=rf"^{name}"):
            simulate(NODE, **{name: value})


@pytest.mark.parametrize("name", ["arrivals", "batch_size", "threshold", "plan", "queries", "seed", "split", "engine"])
def test_find_capacity_refuses_wrong_arguments(name: str) -> None:
    values = (value for value in ARGUMENTS[name] if (name, value) != ("arrivals", "scenario"))
    for value in values:
        with pytest.raises(InputError, match=rf"^{name}"):
            find_capacity(NODE, **{name: value})
    for name_, of_name in (("percentile", (True, "95", None, [], math.nan)), ("precision", (True, "1", None, []))):
        for value in of_name:
            with pytest.raises(InputError, match=rf"^{name_}"):
                find_capacity(NODE, **{name_: value})


@pytest.mark.parametrize("door", [load_scenario, simulate, find_capacity])
def test_what_is_no_scenario_is_refused(door: Any) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for scenario in (
        None,
        3,
        1.5,
        object(),
        [1],
        b"wnd",
        True,
        {},
        {1: 2},
        {"sla_ms": deep},
        "",
        "nowhere",
        "\0",
        Path(),
    ):
        with pytest.raises(InputError):
            door(scenario)
    for overrides in (3, "sla_ms=3", [3], ["sla_ms"], {3: 4}, ["=3"], ["a.b.c=["], object()):
        with pytest.raises(InputError):
            load_scenario("wnd", overrides)  # type: ignore[arg-type]


IDS = ("deeprec_env:DeepRec/Serving-v1", "deeprec_env:DeepRec/Capacity-v0", "deeprec_env:DeepRec/Pipeline-v0")


@pytest.mark.parametrize("name", IDS)
def test_environments_refuse_wrong_arguments(name: str) -> None:
    scenario = plans_day() if "Pipeline" in name else NODE
    for wrong in (
        *({"scenario": value} for value in (3, None, [1], object(), "nowhere")),
        *({"engine": value} for value in OBJECTS),
        *({"reward": value} for value in OBJECTS),
        *({"ladders": value} for value in OBJECTS),
    ):
        with pytest.raises(InputError):
            gym.make(name, **{"scenario": scenario} | wrong)
    for wrong in (
        *({"num_envs": value} for value in (0, -1, 1.5, 10**8)),
        *({"threads": value} for value in (0, -1, 1.5, "many", True)),
        *({"reward": value} for value in OBJECTS),
    ):
        with pytest.raises(InputError):
            gym.make_vec(
                name, **{"num_envs": 2, "scenario": scenario, "vectorization_mode": "vector_entry_point"} | wrong
            )


@pytest.mark.parametrize("name", IDS)
def test_steps_and_resets_refuse_what_is_no_action(name: str) -> None:
    scenario = plans_day() if "Pipeline" in name else NODE
    env = gym.make(name, scenario=scenario).unwrapped
    several = gym.make_vec(name, num_envs=2, scenario=scenario, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    several.reset(seed=0)
    for action in (
        None,
        "a",
        3,
        [0],
        [[0, 0], [0]],
        [0.5, 0.5],
        [True, True],
        [10**6] * 3,
        [-1, -1],
        object(),
        [1e400],
        {},
    ):
        with pytest.raises(InputError, match=r"^action"):
            env.step(action)
        with pytest.raises(InputError, match=r"^action"):
            several.step(action)
    for options in (3, "split", {"split": 3}, {"split": []}, {"other": 1}, [1]):
        for each in (env, several):
            with pytest.raises(InputError):
                each.reset(seed=0, options=options)
    for seed in (1.5, "ab", [1], object()):
        with pytest.raises((InputError, gym.error.Error)):
            several.reset(seed=seed)


SCENARIOS: dict[str, dict[str, Any]] = {
    "NODE": day_scenario(),
    "CPU": day_scenario() | {"node": {"cpu": day_scenario()["node"]["cpu"]}},
    "PARTS": pipeline_day() | {"sub_batches": 2},
}
REASONS: tuple[tuple[str, str, Any, str], ...] = (
    ("NODE", "control.order", "lifo", "'fcfs', 'small-first' or 'least-slack'"),
    ("NODE", "control.offloads", ["guess"], "must be predicted, or a threshold"),
    ("NODE", "control.admit_ms", 0.5, "must be at least 0.55, the mean of the fastest query alone"),
    ("NODE", "node.cpu.batching", {"max_items": 1000}, "only an accelerator takes requests together"),
    ("NODE", "node.accelerator.batching", {"max_items": 999}, "must be at least 1000, the items of the largest query"),
    ("CPU", "control.offload", "predicted", "needs an accelerator; without one must be threshold"),
    ("PARTS", "control.offload", "predicted", "beside sub_batches 2: predictions are of whole queries"),
    ("PARTS", "control.admit_ms", 60, "beside sub_batches 2: predictions are of whole queries"),
    ("PARTS", "pipeline.0.accelerator.batching", {"max_items": 1000}, "beside sub_batches 2"),
)


@pytest.mark.parametrize(("name", "key", "value", "reason"), REASONS)
def test_what_is_wrong_with_a_further_control_is_said_with_the_reason(
    name: str, key: str, value: Any, reason: str
) -> None:
    with pytest.raises(InputError) as raised:
        load_scenario(SCENARIOS[name], {key: value})
    assert reason in str(raised.value)


def test_a_slip_in_a_controller_is_an_error() -> None:
    async def slip(node: Any) -> None:
        node.batchsize = 3

    with pytest.raises(ExceptionGroup) as raised:
        simulate(NODE, coroutines=[slip], queries=1100)
    assert raised.group_contains(AttributeError, match="batchsize")

    async def wrong(node: Any) -> None:
        for name, values in {
            "batch_size": (0, "8", None),
            "threshold": (0, "many"),
            "plan": (1, "a"),
            "setting": (3,),
        }.items():
            for value in values:
                with pytest.raises(InputError, match=f"^{name}"):
                    setattr(node, name, value)
        with pytest.raises(InputError, match=r"^stage"):
            node.waiting("cpu", 3)

    simulate(NODE, coroutines=[wrong], queries=1100)


def test_bad_input_is_bad_input_of_the_package() -> None:
    assert deeprec_env.InputError is InputError
    assert len(str(InputError("field", ["line\n" * 400] * 9, "must be short"))) < 300
    assert "too long to show" in str(InputError("field", 10**5000, "must be short"))
