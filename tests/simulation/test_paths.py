"""Properties that hold on every path, not on average, over random scenarios and for both engines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprec_env import Scenario, load_scenario
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation import AsyncioEngine, Records
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.simulation.oracle import items_by_stage
from tests.simulation.random_scenarios import (
    allowed,
    arrivals,
    bursty_traffics,
    latencies,
    scenarios,
    settings_of_a_window,
)

INTERVAL_S = 1.5

both_engines = pytest.mark.parametrize("name", ENGINES)
windows_of_settings = st.lists(settings_of_a_window, min_size=1, max_size=8)


def controlled(engine: Engine, scenario: Scenario, windows: list[Setting]) -> Records:
    """The drained run under settings that change at every window."""
    for index, setting in enumerate(windows):
        engine.control(allowed(scenario, setting))
        engine.advance((index + 1) * INTERVAL_S)
    engine.drain()
    records = engine.records()
    engine.close()
    return records


def leave_s(records: Records) -> list[Floats]:
    """When each query arrived, and left each stage: at once where it had nothing to do there."""
    left = [records.arrival_s]
    for log in records.stages:
        parts = np.split(log.end_s, log.first[1:-1])
        left.append(np.array([ends.max(initial=before) for ends, before in zip(parts, left[-1], strict=True)]))
    return left


@both_engines
@settings(max_examples=250)
@given(scenario=scenarios(sub_batches=(1,)), traffic=bursty_traffics(), windows=windows_of_settings)
def test_no_query_is_lost_or_finished_twice(
    name: str, scenario: Scenario, traffic: Traffic, windows: list[Setting]
) -> None:
    engine = make_engine(scenario, traffic, name)
    seen = np.full(len(traffic.arrival_s), math.inf)  # completions as they become known
    for index, setting in enumerate(windows):
        engine.control(allowed(scenario, setting))
        engine.advance((index + 1) * INTERVAL_S)
        now = engine.records().completion_s
        known = np.isfinite(seen[: len(now)])
        assert engine.arrived == len(now) == (traffic.arrival_s < (index + 1) * INTERVAL_S).sum()
        assert engine.completed == np.isfinite(now).sum()
        assert (now[known] == seen[: len(now)][known]).all()
        seen[: len(now)] = now
    engine.drain()
    assert engine.arrived == engine.completed == len(traffic.arrival_s)
    if isinstance(engine, AsyncioEngine):
        assert sorted(engine.finished) == list(range(len(traffic.arrival_s)))
    records = engine.records()
    engine.close()
    assert np.isfinite(records.completion_s).all()
    assert (records.latency_s > 0).all()
    plans = np.zeros(len(records), dtype=int) if records.plan is None else records.plan
    entering = [items_by_stage(scenario, n, plan) for n, plan in zip(traffic.items.tolist(), plans, strict=True)]
    for stage, log, items in zip(scenario.stages, records.stages, np.transpose(entering), strict=True):
        offloaded = (items >= records.threshold) & (stage.accelerator is not None) | (stage.cpu is None)
        requests = np.where(offloaded | stage.whole, 1, -(-items // records.batch_size))
        assert log.offloaded.tolist() == (offloaded & (items > 0)).tolist()
        assert np.diff(log.first).tolist() == np.where(items > 0, requests, 0).tolist()
    assert records.completion_s.tolist() == leave_s(records)[-1].tolist()


@both_engines
@settings(max_examples=250)
@given(scenario=scenarios(sub_batches=(1,)), traffic=bursty_traffics(), windows=windows_of_settings)
def test_pools_are_first_come_first_served_and_never_idle_while_a_request_waits(
    name: str, scenario: Scenario, traffic: Traffic, windows: list[Setting]
) -> None:
    records = controlled(make_engine(scenario, traffic, name), scenario, windows)
    for left, stage, log in zip(leave_s(records), scenario.stages, records.stages, strict=False):
        entry_s = left + stage.transfer_s
        for kind, pool in stage.pools().items():
            queries = np.flatnonzero(log.offloaded == (kind == "accelerator"))
            queries = queries[np.argsort(entry_s[queries], kind="stable")]
            order: list[int] = [
                request for query in queries for request in range(log.first[query], log.first[query + 1])
            ]
            starts, ends = log.start_s[order], log.end_s[order]
            entries = np.repeat(entry_s, np.diff(log.first))[order]
            assert (np.diff(starts) >= 0).all()
            assert (starts >= entries).all()
            for start, entry in zip(starts, entries, strict=True):
                assert ((starts <= start) & (ends > start)).sum() <= pool.servers
                if start > entry:  # it waited: every server was busy until then, and one has just come free
                    assert ((starts < start) & (ends >= start)).sum() == pool.servers
                    assert (ends == start).any()


@both_engines
@settings(max_examples=250)
@given(
    scenario=scenarios(sub_batches=(1,)),
    process=arrivals,
    seed=st.integers(0, 2**32),
    setting=settings_of_a_window,
    stops=st.lists(st.floats(0.0, 20.0), max_size=5),
)
def test_the_same_seed_gives_the_same_bytes_wherever_the_run_is_stopped_between(
    name: str,
    scenario: Scenario,
    process: dict[str, Any],
    seed: int,
    setting: Setting,
    stops: list[float],
) -> None:
    scenario = scenario.with_arrivals(process).with_setting(allowed(scenario, setting))

    def bytes_of(stops: list[float]) -> list[bytes]:
        engine = make_engine(scenario, QueryStream(scenario.workload, episode_seed(seed)).draw(40), name)
        for stop in sorted(stops):
            engine.advance(stop)
        engine.drain()
        records = engine.records()
        engine.close()
        arrays = [records.arrival_s, records.items, records.completion_s]
        for log in records.stages:
            arrays += [log.start_s, log.end_s]
        return [array.tobytes() for array in arrays]

    assert bytes_of([]) == bytes_of([]) == bytes_of(stops)


@both_engines
@settings(max_examples=250)
@given(
    traffic=bursty_traffics(),
    cpu=st.tuples(st.integers(1, 3), latencies),
    accelerator=st.tuples(st.integers(1, 2), latencies),
    setting=settings_of_a_window,
    stretches=st.lists(st.floats(1.0, 3.0), min_size=60, max_size=60),
)
def test_in_one_stage_stretching_gaps_and_adding_servers_never_hurt_a_query(
    name: str,
    traffic: Traffic,
    cpu: tuple[int, dict[str, Any]],
    accelerator: tuple[int, dict[str, Any]],
    setting: Setting,
    stretches: list[float],
) -> None:
    """At fixed settings and without contention; each gap may be stretched by a factor of its own."""

    def latency_s(arrival_s: Floats, more_cores: int = 0, more_accelerators: int = 0) -> Floats:
        node = {
            "cpu": {"servers": cpu[0] + more_cores, "latency": cpu[1]},
            "accelerator": {"servers": accelerator[0] + more_accelerators, "latency": accelerator[1]},
        }
        workload = {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "fixed", "items": 1}}
        scenario = load_scenario({"sla_ms": 1000, "workload": workload, "node": node}).with_setting(
            setting.replace(plan=0)
        )
        return run(scenario, traffic.at(arrival_s), engine=name).latency_s

    gaps = np.diff(traffic.arrival_s, prepend=0.0)
    before = latency_s(traffic.arrival_s)
    assert (latency_s(np.cumsum(gaps * stretches[: len(gaps)])) <= before + 1e-9).all()
    assert (latency_s(traffic.arrival_s, more_cores=1) <= before + 1e-9).all()
    assert (latency_s(traffic.arrival_s, more_accelerators=1) <= before + 1e-9).all()


EXPONENTIAL = {"kind": "exponential", "mean_ms": 200.0}
WHATEVER_THE_ITEMS = load_scenario(
    {
        "sla_ms": 1000,
        "workload": {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "fixed", "items": 1}},
        "pipeline": [
            {"name": "filter", "cpu": {"servers": 3, "latency": EXPONENTIAL}, "keep": 5},
            {
                "name": "rank",
                "cpu": {"servers": 2, "latency": EXPONENTIAL},
                "accelerator": {"servers": 1, "latency": EXPONENTIAL},
            },
        ],
    }
)


@settings(max_examples=250)
@given(traffic=bursty_traffics(), actions=st.tuples(windows_of_settings, windows_of_settings))
def test_traffic_and_noise_do_not_change_with_the_actions(
    traffic: Traffic, actions: tuple[list[Setting], list[Setting]]
) -> None:
    """Service times that depend on noise alone show it: part by part, they are the same under any two policies."""
    drawn = traffic.sha256()
    for name in ENGINES:
        one, two = (
            controlled(make_engine(WHATEVER_THE_ITEMS, traffic, name), WHATEVER_THE_ITEMS, windows)
            for windows in actions
        )
        for records in (one, two):
            assert records.arrival_s.tobytes() == traffic.arrival_s.tobytes()
            assert records.items.tobytes() == traffic.items.tobytes()
        for have, want in zip(one.stages, two.stages, strict=True):
            for query in range(len(one)):
                parts = min(np.diff(have.first)[query], np.diff(want.first)[query])
                here, there = (slice(log.first[query], log.first[query] + parts) for log in (have, want))
                service_s = have.end_s[here] - have.start_s[here]
                assert service_s == pytest.approx(want.end_s[there] - want.start_s[there], abs=1e-9)
    assert traffic.sha256() == drawn
