from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import InputError, load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.simulation.records import Records
from deeprec_env.workload import QueryStream, episode_seed
from deeprec_env.workload.stream import Traffic
from tests.conftest import OwnLatency

CPU = {"servers": 3, "latency": {"kind": "affine", "base_ms": 0.5, "per_item_ms": 0.02, "cv": 0.5}}
ACCELERATOR = {"servers": 1, "latency": {"kind": "exponential", "mean_ms": 2.0}}
CONTENDED = CPU | {"contention": {"c": [0.7, 0.2, 0.4]}}
SLOW = CPU | {"slowness": {"factor": 3.0, "mean_slow_s": 0.01, "mean_normal_s": 0.02}}
NODES: dict[str, Any] = {
    "node": {"node": {"cpu": CPU, "accelerator": ACCELERATOR}},
    "contended": {"node": {"cpu": CONTENDED}},
    "slow phases": {"node": {"cpu": SLOW, "accelerator": ACCELERATOR}},
    "own latency": {"node": {"cpu": {"servers": 40, "latency": OwnLatency()}, "accelerator": ACCELERATOR}},
    "pipeline": {
        "pipeline": [
            {"name": "filter", "cpu": CPU, "accelerator": ACCELERATOR, "keep": 60, "overhead_s": 0.0002},
            {"name": "rank", "cpu": CONTENDED, "transfer_s": 0.004},
        ]
    },
    "sub-batches": {
        "pipeline": [
            {"name": "filter", "accelerator": ACCELERATOR, "transfer_s": 0.001},
            {"name": "rank", "cpu": CONTENDED, "whole": True, "transfer_s": 0.004},
        ],
        "plans": [{"name": "both", "items": [300, 60]}, {"name": "rank", "items": [0, 200]}],
        "sub_batches": 3,
    },
}
SEVERAL = ("pipeline", "sub-batches")
BLOCK_S = 0.02


def start(kind: str, qps: float) -> tuple[CompiledEngine, Traffic]:
    workload = {"arrivals": {"kind": "poisson", "qps": qps}, "sizes": {"kind": "production"}}
    scenario = load_scenario({"sla_ms": 50, "workload": workload, **NODES[kind]})
    traffic = QueryStream(scenario.workload, episode_seed(1)).draw(80)
    return CompiledEngine(scenario, traffic), traffic


def rest(traffic: Traffic, begin: int) -> Traffic:
    return traffic.part(begin, len(traffic.items))


def as_bytes(records: Records) -> list[bytes]:
    arrays = [
        records.arrival_s, records.items, records.batch_size, records.threshold, records.completion_s,
        *(a for stage in records.stages for a in (stage.offloaded, stage.first, stage.start_s, stage.end_s)),
    ]  # fmt: skip
    return [array.tobytes() for array in arrays]


def threshold(kind: str, value: int) -> int | None:
    return None if kind == "contended" else value


@given(
    kind=st.sampled_from(sorted(NODES)),
    qps=st.sampled_from([50.0, 300.0, 3000.0]),
    blocks=st.integers(0, 8),
    again=st.integers(0, 4),
)
def test_a_fork_with_the_same_future_is_the_original(kind: str, qps: float, blocks: int, again: int) -> None:
    engine, traffic = start(kind, qps)
    for block in range(blocks):
        engine.control(
            Setting(8 + 40 * block, threshold(kind, 100 + 50 * block), block % 2 if kind == "sub-batches" else 0)
        )
        engine.advance(block * BLOCK_S)
    fork = engine.fork(rest(traffic, engine.arrived))
    for block in range(blocks, blocks + again):
        for node in (engine, fork):
            node.control(Setting(16 + 20 * block, threshold(kind, 300)))
            node.advance(block * BLOCK_S)
        assert (fork.now_s, fork.arrived, fork.completed) == (engine.now_s, engine.arrived, engine.completed)
        assert as_bytes(fork.records()) == as_bytes(engine.records(fork.first_known))
    second = fork.fork(rest(traffic, fork.arrived))
    for node in (engine, fork, second):
        node.drain()
    for node in (fork, second):
        assert as_bytes(node.records()) == as_bytes(engine.records(node.first_known))
        assert node.completed == 80


@pytest.mark.parametrize("kind", sorted(NODES))
def test_a_fork_never_changes_its_parent(kind: str) -> None:
    engine, traffic = start(kind, 1000.0)
    alone, _ = start(kind, 1000.0)
    for node in (engine, alone):
        node.control(Setting(32, threshold(kind, 200)))
        node.advance(0.03)
    other = Traffic(0.03 + traffic.arrival_s[:50] / 3, traffic.items[::-1][:50].copy(), 99)
    fork = engine.fork(other)
    before = as_bytes(engine.records())
    fork.control(Setting(500, None))
    fork.drain()
    assert as_bytes(engine.records()) == before
    for node in (engine, alone):
        node.drain()
    assert as_bytes(engine.records()) == as_bytes(alone.records())


@pytest.mark.parametrize("kind", sorted(NODES))
def test_queries_in_flight_go_on_as_they_are(kind: str) -> None:
    engine, _ = start(kind, 2000.0)
    engine.control(Setting(64, threshold(kind, 300)))
    engine.advance(0.02)
    quiet = engine.fork(Traffic.nothing())
    assert quiet.arrived == engine.arrived
    assert quiet.first_known == np.flatnonzero(np.isinf(engine.records().completion_s))[0]
    quiet.drain()
    engine.drain()
    entered = engine.records(quiet.first_known).completion_s[: len(quiet.records())]
    if kind not in SEVERAL:  # there later queries overtake, and take servers of the second stage
        assert quiet.records().completion_s.tobytes() == entered.tobytes()
    assert (quiet.records().completion_s <= entered).all() or kind in SEVERAL


@given(kind=st.sampled_from(sorted(NODES)), windows=st.integers(0, 5), qps=st.sampled_from([300.0, 3000.0]))
def test_a_fork_measures_its_next_windows_as_the_original(kind: str, windows: int, qps: float) -> None:
    engine, traffic = start(kind, qps)
    for window in range(windows):
        engine.run_window(Setting(8 + 40 * window, threshold(kind, 300)), window * BLOCK_S, (window + 1) * BLOCK_S)
    fork = engine.fork(rest(traffic, engine.arrived))
    for window in range(windows, windows + 3):
        measured = [
            node.run_window(Setting(64, threshold(kind, 200)), window * BLOCK_S, (window + 1) * BLOCK_S)
            for node in (engine, fork)
        ]
        assert measured[0] == measured[1]


def test_a_future_in_the_past_is_refused() -> None:
    engine, traffic = start("node", 1000.0)
    engine.advance(0.02)
    with pytest.raises(InputError, match="must not lie before the present"):
        engine.fork(traffic)
