"""Parts of latencies: they sum to the last bit, and what they are taken from is what the engines did."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprec_env import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import all_rows
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import run
from deeprec_env.timeline.parts import CONTENTION, SERVICE, SLOW_DOWN, LatencyParts, latency_parts
from deeprec_env.timeline.requests import run_requests
from deeprec_env.workload import Traffic
from tests.simulation.random_scenarios import (
    Run,
    allowed,
    bursty_traffics,
    further_runs,
    scenarios,
    settings_of_a_window,
)

both_engines = pytest.mark.parametrize("name", ENGINES)


def controlled(name: str, scenario: Scenario, traffic: Traffic, windows: list[Setting], interval_s: float) -> Records:
    engine = make_engine(scenario, traffic, name)
    for index, setting in enumerate(windows):
        engine.control(setting)
        engine.advance((index + 1) * interval_s)
    engine.drain()
    records = engine.records()
    engine.close()
    return records


def checked_parts(records: Records, scenario: Scenario, traffic: Traffic) -> LatencyParts:
    """The parts of a run, every query's sum compared with its latency."""
    parts = latency_parts(records, scenario, run_requests(records, scenario, traffic.noise_key))
    for query, latency_s in enumerate(records.latency_s.tolist()):
        if math.isnan(latency_s):
            assert (parts.request[:, query] == -1).all()
            continue
        of_query = parts.of_query(query, latency_s)
        assert math.fsum(of_query.ravel()) == latency_s
        # What closed the sum is rounding alone: of each time, which may be far larger than the latency.
        np.testing.assert_allclose(
            of_query, parts.seconds[:, :, query], rtol=0, atol=1e-12 * records.completion_s[query]
        )
        assert (of_query[:, :2] >= -1e-12).all()
    return parts


@both_engines
@settings(max_examples=150)
@given(scenario=scenarios(), traffic=bursty_traffics(), windows=st.lists(settings_of_a_window, max_size=4))
def test_parts_sum_to_the_latency_of_every_query(
    name: str, scenario: Scenario, traffic: Traffic, windows: list[Setting]
) -> None:
    chosen = [allowed(scenario, setting) for setting in windows]
    records = controlled(name, scenario, traffic, chosen, 1.5)
    parts = checked_parts(records, scenario, traffic)
    # Service and contention are found anew from the noise and the busy servers: what was measured leaves nothing over.
    assert_slow_phases_alone_are_left(parts, scenario)


def assert_slow_phases_alone_are_left(parts: LatencyParts, scenario: Scenario) -> None:
    """What neighbours do not explain is what a slow phase of one of the stage's pools adds, or nothing."""
    for stage, seconds in zip(scenario.stages, parts.seconds, strict=True):
        factors = [pool.slowness.factor for pool in stage.pools().values() if pool.slowness is not None]
        served_s = seconds[SERVICE] + seconds[CONTENTION]
        explained = seconds[SLOW_DOWN] == 0.0
        for factor in factors:
            explained |= np.isclose(seconds[SLOW_DOWN], (factor - 1.0) * served_s, rtol=1e-6, atol=1e-12)
        assert explained.all()


def engine_for(scenario: Scenario, name: str) -> str:
    """Compiled code asks no latency in Python event by event."""
    return name if all_rows(scenario) else "asyncio"


@both_engines
@settings(max_examples=150)
@given(further=further_runs())
def test_parts_of_orders_offloads_limits_and_batches(name: str, further: Run) -> None:
    scenario = further.scenario.with_setting(further.settings[0])
    records = run(scenario, further.traffic, engine=engine_for(scenario, name))
    assert_slow_phases_alone_are_left(checked_parts(records, scenario, further.traffic), scenario)


@settings(max_examples=150)
@given(further=further_runs())
def test_parts_sum_where_the_order_changes_in_mid_run(further: Run) -> None:
    scenario, traffic = further.scenario, further.traffic
    name = engine_for(scenario, "compiled")
    checked_parts(controlled(name, scenario, traffic, further.settings, further.interval_s), scenario, traffic)
