"""Random scenarios, traffic and settings for property tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from deeprec_env import InputError, Scenario, load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.conftest import OwnLatency, queue

latencies = st.one_of(
    # Constant times on a grid make ties normal: completions, entries, arrivals and starts at one instant.
    st.sampled_from([{"kind": "constant", "ms": ms} for ms in (250.0, 500.0, 1000.0)]),
    st.sampled_from([{"kind": "exponential", "mean_ms": 400.0}, OwnLatency()]),
    st.sampled_from([{"kind": "affine", "base_ms": 100.0, "per_item_ms": 50.0, "cv": cv} for cv in (0.0, 0.5)]),
    st.builds(lambda model: {"kind": "rpaccel", "model": model, "unit": 64}, st.sampled_from(["dim_4", "dim_32"])),
)
Latencies = st.SearchStrategy[Any]
contentions = st.sampled_from([{}, {"c": [0.9, 0.5, 0.1]}, {"c": [1.0, 0.25, 0.0], "servers": 7}])
slownesses = st.one_of(
    st.none(),
    st.builds(
        lambda factor, slow_s, normal_s: {"factor": factor, "mean_slow_s": slow_s, "mean_normal_s": normal_s},
        st.sampled_from([0.5, 1.5, 4.0]),
        st.sampled_from([0.01, 0.5, 5.0]),
        st.sampled_from([0.02, 1.0, 10.0]),
    ),
)


@st.composite
def pools(draw: Any, latencies: Latencies = latencies) -> dict[str, Any]:
    pool = {"servers": draw(st.integers(1, 4)), "latency": draw(latencies), "contention": draw(contentions)}
    return pool | {"slowness": draw(slownesses)}


@st.composite
def plans(draw: Any, stages: list[dict[str, Any]], latencies: Latencies = latencies) -> dict[str, Any]:
    """Some stages are skipped; some pools have another latency."""
    items = sorted(draw(st.lists(st.integers(1, 9), min_size=len(stages), max_size=len(stages))), reverse=True)
    visited = draw(st.lists(st.booleans(), min_size=len(stages), max_size=len(stages)).filter(any))
    latency = {
        stage["name"]: {kind: draw(latencies) for kind in ("cpu", "accelerator") if kind in stage}
        for stage in stages
        if draw(st.booleans())
    }
    return {"items": [n if visits else 0 for n, visits in zip(items, visited, strict=True)], "latency": latency}


@st.composite
def scenario_data(draw: Any, sub_batches: tuple[int, ...], latencies: Latencies = latencies) -> dict[str, Any]:
    """One to three stages on a CPU, an accelerator or both, some never splitting; up to three plans, or none."""
    stages: list[dict[str, Any]] = []
    for position in range(draw(st.integers(1, 3))):
        stage: dict[str, Any] = {"name": f"s{position}"}
        for kind in draw(st.sampled_from([("cpu",), ("cpu", "accelerator"), ("cpu", "accelerator"), ("accelerator",)])):
            stage[kind] = draw(pools(latencies))
        stage["overhead_s"] = draw(st.sampled_from([0.0, 0.125]))
        stage["transfer_s"] = draw(st.sampled_from([0.0, 0.25]))
        stage["whole"] = draw(st.sampled_from([False, False, True]))
        stages.append(stage)
    data = {
        "sla_ms": 2000,
        "workload": {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "fixed", "items": 1}},
        "pipeline": stages,
        "sub_batches": draw(st.sampled_from(sub_batches)),
    }
    if draw(st.booleans()):
        data["plans"] = [
            draw(plans(stages, latencies)) | {"name": f"p{index}"} for index in range(draw(st.integers(1, 3)))
        ]
    else:
        most = 5
        for stage in stages:
            stage["keep"] = draw(st.sampled_from([None, *(keep for keep in (1, 3, 5) if keep <= most)]))
            most = stage["keep"] or most
    return data


def scenarios(sub_batches: tuple[int, ...] = (1, 1, 2, 3)) -> st.SearchStrategy[Scenario]:
    """Scenarios of `scenario_data` as they are."""
    return scenario_data(sub_batches).map(load_scenario)


@st.composite
def traffics(draw: Any) -> Traffic:
    count = draw(st.integers(1, 40))
    if draw(st.booleans()):  # on a grid, several at one instant
        gaps = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=count, max_size=count))
    else:
        gaps = np.random.default_rng(draw(st.integers(0, 99))).exponential(0.4, count).tolist()
    items = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    return Traffic(np.cumsum(gaps), np.array(items, dtype=np.int64), draw(st.integers(0, 2**64 - 1)))


settings_of_a_window = st.builds(Setting, st.integers(1, 6), st.sampled_from([None, 1, 3, 6]), st.integers(0, 2))


def allowed(scenario: Scenario, setting: Setting) -> Setting:
    threshold = setting.threshold if scenario.has_accelerator else None
    return setting.replace(threshold=threshold, plan=setting.plan % len(scenario.planned_stages))


arrivals = st.sampled_from(
    [
        {"kind": "poisson", "qps": 2.5},
        {"kind": "gamma", "qps": 2.5, "cv": 3.0},
        {"kind": "diurnal", "qps": 2.5, "day_s": 8.0, "bursts": 3.0, "burst_factor": 3.0, "ceiling": 3.0},
    ]
)


@st.composite
def streams(draw: Any) -> QueryStream:
    """A fresh stream of queries of 1 to 9 items: Poisson, gamma in clumps, or days with bursts."""
    sizes = {"kind": "lognormal", "mu": 1.0, "sigma": 0.8, "high": 9}
    workload = {"arrivals": draw(arrivals), "sizes": sizes}
    scenario = queue(1, {"kind": "constant", "ms": 1.0}, 1.0, workload=workload)
    return QueryStream(scenario.workload, episode_seed(draw(st.integers(0, 999))))


def bursty_traffics() -> st.SearchStrategy[Traffic]:
    """Up to 60 queries of such a stream, or of ties on a grid."""
    drawn = st.builds(lambda stream, count: stream.draw(count), streams(), st.integers(1, 60))
    return st.one_of(traffics(), drawn)


SLOW_PROFILE = str(Path(__file__).parents[1] / "queues" / "slow_profile.csv")
further_latencies = st.one_of(
    latencies,
    st.sampled_from([{"kind": "constant", "ms": ms} for ms in (250.0, 500.0)]),
    st.sampled_from(
        [{"kind": "profile", "profile": SLOW_PROFILE, "model": "toy", "tail": tail} for tail in ("cut", "exponential")]
    ),
)
LARGEST = 9
"""Items of the largest query that a workload of `further_scenarios` draws."""


@dataclass(frozen=True)
class Run:
    """A scenario with further controls, its traffic and the setting of each of its windows."""

    scenario: Scenario
    traffic: Traffic
    settings: list[Setting]
    interval_s: float


@st.composite
def further_scenarios(draw: Any) -> Scenario:
    """As `scenarios`, with some of rules 13 to 17 in force or on a ladder: at least one that is not decided on entry.

    Limits of admission are from the least allowed to ones that shed nobody; batches hold the largest query or more.
    """
    data = draw(scenario_data((1,) * 8 + (2, 3), further_latencies))
    data["workload"]["sizes"] = {"kind": "lognormal", "mu": 1.0, "sigma": 0.8, "high": LARGEST}
    together = data["sub_batches"] == 1
    for stage in data["pipeline"]:
        for kind in {"cpu", "accelerator"} & stage.keys():
            stage[kind] |= {"idle_w": 10.0, "busy_w": 30.0}
        if together and "accelerator" in stage and draw(st.sampled_from([True, True, False])):
            most = LARGEST + draw(st.sampled_from([0, 0, 1, 5, 20]))
            wait_ms = draw(st.sampled_from([0.0, 100.0, 250.0, 1000.0, 5000.0]))
            stage["accelerator"]["batching"] = {"max_items": most, "max_wait_ms": wait_ms}
    control: dict[str, Any] = {"splits": ["full", "even"], "orders": ["fcfs", "small-first", "least-slack"]}
    if together and any("accelerator" in stage for stage in data["pipeline"]):
        control["offloads"] = [1, 3, 6, None, "predicted"]
    data["control"] = control
    scenario = load_scenario(data)
    if together and draw(st.sampled_from([True, True, False])):
        limits = [limit for limit in (250.0, 500.0, 750.0, 1000.0, 1500.0, 2500.0, 5000.0) if keeps(scenario, limit)]
        data["control"] = control | {"admits_ms": [*limits[:3], draw(st.sampled_from([None, 60_000.0]))]}
        scenario = load_scenario(data)
    return scenario


def keeps(scenario: Scenario, limit_ms: float) -> bool:
    """Whether an admission limit is allowed."""
    try:
        scenario.check_limit(limit_ms)
    except InputError:
        return False
    return True


@st.composite
def further_runs(draw: Any) -> Run:
    """Such a scenario under traffic with many ties, or bursts, whose setting changes at each window."""
    scenario = draw(further_scenarios())
    ladders = scenario.ladders | {"batch_size": range(1, 7)}
    levels = {name: st.sampled_from(list(ladder)) for name, ladder in ladders.items() if name != "threshold"}
    settings = draw(st.lists(st.fixed_dictionaries(levels), min_size=1, max_size=6))
    traffic = draw(bursty_traffics()).numbered_from(draw(st.sampled_from([0, 977])))
    chosen = [scenario.setting.at(**each) for each in settings]
    return Run(scenario, traffic, chosen, draw(st.sampled_from([0.25, 0.7, 1.0, 1.25, 3.0])))
