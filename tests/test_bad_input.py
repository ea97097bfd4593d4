"""Bad input, by the hundred: on the command line one line and status 2, from Python an `InputError`; nothing else.

Each table names an option, a key or an argument, and the values that are none of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import yaml

import deeprec_env
from deeprec_env import InputError, find_capacity, load_scenario, simulate
from tests.conftest import day_scenario, pipeline_day, plans_day
from tests.test_cli import call

DIGITS = "9" * 5000
LONG = "line\n" * 400

NUMBERS = ("", "many", "nan", "1e400", "0x", "--", LONG)
COUNTS = (*NUMBERS, "-1", "2.5", DIGITS)
NAMES = ("", "nowhere", "None", "../x", LONG)
SETTINGS: dict[str, tuple[str, ...]] = {
    "--batch-size": (*COUNTS, "0", "1000000001"),
    "--threshold": ("", "many", "0", "-1", "64,128", "1.5", DIGITS, LONG, "nan", "-inf"),
    "--plan": ("0", "-1", "both", DIGITS, LONG),
    "--arrivals": ("", "gamma", LONG),
    "--engine": NAMES,
    "--seed": COUNTS,
}
WORDS = (*NAMES, "lifo", "FCFS", "0")

OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "simulate NODE": {
        **SETTINGS,
        "--arrivals": ("", "gamma", "scenario"),
        "--qps": (*NUMBERS, "0", "-5", "inf", "1e13", "1e-320"),
        "--queries": (*COUNTS, "0", "1099", "1000000000000", "99999999999999999999999"),
        "--split": NAMES,
        "--records": ("", "out", "out.txt", "no/where.csv", "."),
        "--split-rule": (*WORDS, "evenly"),
        "--order": (*WORDS, "largest-first"),
        "--offload": (*WORDS, "64"),
        "--admit": (*(text for text in NUMBERS if text != "1e400"), "0", "-1", "1e-6", "0.5", "1e300"),
        "--set": (
            "control.order=lifo", "control.orders=[fcfs, lifo]", "control.split=half", "control.offload=guess",
            "control.offloads=[predicted, guess]", "control.admit_ms=0.5", "control.admits_ms=[60, 0.5]",
            "node.cpu.batching={max_items: 1000}", "node.accelerator.batching={max_items: 999}",
            "node.cpu.slowness={}", "node.cpu.slowness=2", "node.cpu.slowness={factor: 2, mean_slow_s: 1}",
            "node.cpu.slowness={factor: 0, mean_slow_s: 1, mean_normal_s: 1}",
            "node.cpu.slowness={factor: -2, mean_slow_s: 1, mean_normal_s: 1}",
            "node.cpu.slowness={factor: .inf, mean_slow_s: 1, mean_normal_s: 1}",
            "node.cpu.slowness={factor: true, mean_slow_s: 1, mean_normal_s: 1}",
            "node.cpu.slowness={factor: 2, mean_slow_s: 0, mean_normal_s: 1}",
            "node.cpu.slowness={factor: 2, mean_slow_s: 1, mean_normal_s: 1e-9}",
            "node.accelerator.slowness={factor: 2, mean_slow_s: 1, mean_normal_s: 1, share: 0.5}",
        ),
    },
    "simulate CPU": {
        "--offload": ("predicted",),
        "--set": (
            "control.offload=predicted", "control.offloads=[null, predicted]", "control.threshold=64",
            "node.accelerator.batching={max_items: 1000}",
        ),
    },
    "simulate PARTS": {
        "--offload": ("predicted",),
        "--admit": ("60",),
        "--set": (
            "control.offload=predicted", "control.offloads=[null, predicted]", "control.admit_ms=60",
            "control.admits_ms=[60]", "pipeline.0.accelerator.batching={max_items: 1000}",
        ),
    },
    "controls NODE": {
        "--loads": ("", "many", "0", "-1", "1,1", "nan", "inf", "101", "0.5,"),
        "--queries": (*COUNTS, "0", "1099", "1000001"),
        "--seeds": (*COUNTS, "0", "1001"),
        "--seed": COUNTS,
        "--output": ("NODE",),
    },
    "capacity NODE": {
        **SETTINGS,
        "--percentile": (*NUMBERS, "0", "49.9", "100", "inf"),
        "--precision": (*NUMBERS, "0", "1", "-0.1", "inf"),
        "--queries": (*COUNTS, "0", "1000000000000"),
        "--output": ("map",),
    },
    "tune NODE": {
        "--method": NAMES,
        "--queries": (*COUNTS, "0", "1000000000000"),
        "--days": (*COUNTS, "0", "3"),
        "--param": ("", "growth", "growth=1", "growth=true", "growth=[", "nowhere=3", "start=010"),
        "--arrivals": ("", "gamma", "scenario"),
        "--seed": COUNTS,
    },
    "evaluate NODE": {
        "--policies": ("", ",", "guess", "static,static", "nowhere:nothing", LONG),
        "--env": NAMES,
        "--traffic": NAMES,
        "--windows": ("0", "-1", "3", "many"),
        "--quality-floor": ("2", "nan", "many"),
        "--seeds": (*COUNTS, "0", "1000000000000", "100000000000000000000"),
        "--queries": (*COUNTS, "0", "1000000000000"),
        "--engine": NAMES,
        "--seed": COUNTS,
    },
    "train NODE": {
        "--algo": NAMES,
        "--env": NAMES,
        "--timesteps": (*COUNTS, "0", "99999999999999999999999"),
        "--reward": NAMES,
        "--hyperparams": ("", ".", "nowhere.yml", "NODE", "DEEP"),
        "--engine": NAMES,
        "--seed": (*COUNTS, "4294967296"),
        "--seeds": (*COUNTS, "0", "1001", "99999999999999999999"),
        "--validate-every": (*COUNTS, "0"),
        "--log": (*NAMES, "csv,smoke", ",", "csv,"),
        "--trials": (*COUNTS, "5"),
        "--output": ("NODE",),
    },
    "train NODE --seeds 2": {
        "--log": ("stdout", "csv,stdout", "smoke"),
        "--trials": ("5",),
        "--seed": ("4294967295",),
        "--hyperparams": ("nowhere.yml",),
        "--output": ("NODE",),
    },
    "train NODE --seeds 2 --resume": {"--output": ("nowhere", "NODE")},
    "train NODE --search": {"--seeds": ("5",), "--output": ("out",), "--trials": (*COUNTS, "0", "100001")},
    "train NODE --search --trials 2": {
        "--seeds": ("5", "0"),
        "--log": ("csv", "stdout"),
        "--algo": NAMES,
        "--hyperparams": ("nowhere.yml",),
        "--output": ("NODE",),
    },
    "train NODE --search --trials 2 --resume": {"--output": ("out",)},
    "profile ncf": {
        "--device": NAMES,
        "--batches": ("", "0", "1,1", "many", "1.5", "99999999999"),
        "--threads": ("", "0", "many", "1,1", "999999"),
        "--passes": (*COUNTS, "0", "99999999999999"),
        "--index-distribution": ("", "normal", "zipf:-1", "zipf:steep", "stack:nowhere.csv", "stack:FORTY"),
        "--rows-scale": (*NUMBERS, "0", "-1", "2", "inf"),
        "--name": ("", " x", "#"),
        "--output": (".", "no/where.csv", "NODE"),
    },
    "profile compare amd-epyc-milan amd-epyc-turin": {
        "--threads": ("", "1", "many", "1,2,3", "7,7"),
        "--output": ("NODE",),
    },
    "quality train": {
        "--data": NAMES,
        "--model": NAMES,
        "--epochs": (*COUNTS, "0"),
        "--rate": (*NUMBERS, "0", "-1", "inf"),
        "--queries": (*COUNTS, "0", "100000000"),
        "--threads": (*COUNTS, "0", "999999"),
    },
    "quality table": {
        "--checkpoints": ("nowhere", "NODE"),
        "--pipelines": ("", "nosuch", "dim_4@0", "dim_4@8-dim_4@16", "dim_4@many"),
        "--stages": (*COUNTS, "0"),
        "--items": ("", "many", "1.5"),
        "--keep": ("", "many"),
        "--queries": (*COUNTS, "0"),
    },
    "pipeline rpaccel": {"--items": (*COUNTS, "0"), "--fidelity": NAMES, "--seed": COUNTS},
    "pipeline cache": {
        "--policy": NAMES,
        "--samples": (*COUNTS, "0", "1000000000000"),
        "--compare": ("nowhere", "NODE"),
    },
    "pipeline headlines --quick": {"--seed": COUNTS},
    "paper": {"--models": ("nowhere", ""), "--output": ("NODE",)},
    "controls NODE NODE": {"--seeds": ("2",)},
    "controls PARTS": {"--seeds": ("2",)},
    "schema": {"--seed": COUNTS},
}  # fmt: skip

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


def command_lines() -> Iterator[tuple[str, ...]]:
    for command, options in OPTIONS.items():
        for option, values in options.items():
            yield from ((*command.split(), option, value) for value in values)
    for text in ("servers=010", "servers=1:30", "servers=0b11", "servers=1_2:3", "idle_w=1:30.5", "servers=2020-13-45"):
        yield "simulate", "NODE", "--set", f"node.cpu.{text}"
    for name in ("", "nowhere", ".", "DEEP", "DIGITS", "BINARY", "LIST"):
        for command in ("simulate", "capacity", "tune", "evaluate", "train"):
            yield command, name
    for command in ("sweep", "schedule --quality 0.9 --qps 100"):
        first, *more = command.split()
        for name in ("nowhere.yaml", ".", "NODE", "DEEP", "DIGITS"):
            yield "pipeline", first, name, *more
    for number in ("", "1", "10b", "-1"):
        yield "pipeline", "figure", number
    for name in ("nowhere", "", "../wnd"):
        yield "scenarios", name
        yield "profile", "compare", name, "amd-epyc-milan"


LINES = list(command_lines())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the words in capitals stand for."""
    folder = tmp_path_factory.mktemp("bad")
    texts = {
        "NODE": yaml.safe_dump(day_scenario()),
        "CPU": yaml.safe_dump(day_scenario() | {"node": {"cpu": day_scenario()["node"]["cpu"]}}),
        "PARTS": yaml.safe_dump(pipeline_day() | {"sub_batches": 2}),
        "DEEP": f"a: {'[' * 1500}{']' * 1500}",
        "DIGITS": f"sla_ms: {DIGITS}",
        "BINARY": "a: \x00",
        "LIST": "- 1\n- 2",
        "FORTY": "distance,probability\n1,0.3\n7,0.1\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return {name: str(folder / f"{name}.yaml") for name in texts}


def test_bad_command_lines_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str]
) -> None:
    assert len(LINES) >= 300
    monkeypatch.chdir(tmp_path)
    wrong = []
    for line in LINES:
        words = ["stack:" + files["FORTY"] if word == "stack:FORTY" else files.get(word, word) for word in line]
        try:
            status, out, err = call(capsys, *words)
        except Exception as error:  # a traceback, which is what this looks for
            wrong.append((line, f"{type(error).__name__}: {error}"[:300]))
            continue
        if (status, out, err.count("\n")) != (2, "", 1) or len(err) > 2500:
            wrong.append((line, f"status {status}: {out[:100]}{err[:300]}"))
        if left := list(tmp_path.iterdir()):
            wrong.append((line, f"left {left}"))
            break
    assert [([word[:40] for word in line], said) for line, said in wrong] == []


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
    name: str, key: str, value: Any, reason: str, files: dict[str, str]
) -> None:
    with pytest.raises(InputError) as raised:
        load_scenario(files[name], {key: value})
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
    assert len(str(InputError("field", [LONG] * 9, "must be short"))) < 300
    assert "too long to show" in str(InputError("field", 10**5000, "must be short"))
