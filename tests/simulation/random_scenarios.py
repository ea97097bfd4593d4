"""Random scenarios, traffic and settings for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from deeprec_env import Scenario, load_scenario
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
contentions = st.sampled_from([{}, {"c": [0.9, 0.5, 0.1]}, {"c": [1.0, 0.25, 0.0], "servers": 7}])


@st.composite
def pools(draw: Any) -> dict[str, Any]:
    return {"servers": draw(st.integers(1, 4)), "latency": draw(latencies), "contention": draw(contentions)}


@st.composite
def plans(draw: Any, stages: list[dict[str, Any]]) -> dict[str, Any]:
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
def scenarios(draw: Any, sub_batches: tuple[int, ...] = (1, 1, 2, 3)) -> Scenario:
    """One to three stages on a CPU, an accelerator or both, some never splitting; up to three plans, or none."""
    stages: list[dict[str, Any]] = []
    for position in range(draw(st.integers(1, 3))):
        stage: dict[str, Any] = {"name": f"s{position}"}
        for kind in draw(st.sampled_from([("cpu",), ("cpu", "accelerator"), ("cpu", "accelerator"), ("accelerator",)])):
            stage[kind] = draw(pools())
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
        data["plans"] = [draw(plans(stages)) | {"name": f"p{index}"} for index in range(draw(st.integers(1, 3)))]
    else:
        most = 5
        for stage in stages:
            stage["keep"] = draw(st.sampled_from([None, *(keep for keep in (1, 3, 5) if keep <= most)]))
            most = stage["keep"] or most
    return load_scenario(data)


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
