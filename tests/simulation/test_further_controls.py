"""Rules 13 to 17: both engines against a plain event loop and against each other, and rules by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deeprec_env import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import all_rows
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.records import Records
from deeprec_env.workload import Traffic
from tests.simulation.node_oracle import NodeOracle
from tests.simulation.random_scenarios import (
    Run,
    allowed,
    bursty_traffics,
    further_runs,
    scenarios,
    settings_of_a_window,
)
from tests.simulation.test_event_kernel import shown
from tests.simulation.window_oracle import run_window

both_engines = pytest.mark.parametrize("name", ENGINES)


def assert_is(records: Records, node: NodeOracle) -> None:
    """The same floats, query by query and request by request."""
    assert records.query.tolist() == [query.number for query in node.queries]
    assert [Setting.of(row) for row in records.setting] == [query.setting for query in node.queries]
    assert records.shed.tolist() == [query.shed for query in node.queries]
    for position, log in enumerate(records.stages):
        visits = [query.visits[position] for query in node.queries]
        requests = [request for visit in visits for request in visit.all_requests]
        offloaded = [visit.accelerator and not query.shed for query, visit in zip(node.queries, visits, strict=True)]
        assert (log.offloaded & ~records.shed).tolist() == offloaded
        assert np.diff(log.first).tolist() == [len(visit.all_requests) for visit in visits]
        assert log.start_s.tolist() == [request.start_s for request in requests]
        assert log.end_s.tolist() == [request.end_s for request in requests]
        carries = [True] * len(requests) if log.carries is None else log.carries.tolist()
        assert carries == [request.carries for request in requests]
    completion_s = np.array([query.completion_s for query in node.queries])
    np.testing.assert_array_equal(records.completion_s, completion_s, strict=True)  # NaN is NaN


def assert_engine_is_the_oracle(name: str, run: Run) -> None:
    engine, node = make_engine(run.scenario, run.traffic, name), NodeOracle(run.scenario, run.traffic)
    for index, setting in enumerate(run.settings):
        span = (index * run.interval_s, (index + 1) * run.interval_s)
        assert engine.run_window(setting, *span) == run_window(node, setting, *span)
    engine.drain()
    node.drain()
    records = engine.records()
    engine.close()
    assert_is(records, node)


changes = st.lists(settings_of_a_window, min_size=1, max_size=6)


@both_engines
@given(
    scenario=scenarios(),
    traffic=bursty_traffics(),
    windows=changes,
    even=st.booleans(),
    interval=st.sampled_from([0.25, 1.25]),
)
def test_engines_are_the_event_loop_where_no_further_control_is_used(
    name: str, scenario: Scenario, traffic: Traffic, windows: list[Setting], even: bool, interval: float
) -> None:
    chosen = [allowed(scenario, setting) for setting in windows]
    if even:
        scenario = scenario.replace(control=scenario.control.model_copy(update={"splits": ("full", "even")}))
        chosen = [each.replace(split=("full", "even")[place % 2]) for place, each in enumerate(chosen)]
    assert_engine_is_the_oracle(name, Run(scenario, traffic, chosen, interval))


@both_engines
@settings(max_examples=300)
@given(run=further_runs())
def test_engines_are_the_event_loop_with_all_further_controls(name: str, run: Run) -> None:
    assume(name == "asyncio" or all_rows(run.scenario))
    assert_engine_is_the_oracle(name, run)


@settings(max_examples=1000)
@given(run=further_runs())
def test_both_engines_show_the_same_bytes_with_all_further_controls(run: Run) -> None:
    """A thousand random scenarios, at every window and at the end."""
    assume(all_rows(run.scenario))
    engines = [make_engine(run.scenario, run.traffic, name) for name in ENGINES]
    for index, setting in enumerate(run.settings):
        span = (index * run.interval_s, (index + 1) * run.interval_s)
        one, two = (engine.run_window(setting, *span) for engine in engines)
        assert one == two
        assert shown(engines[0]) == shown(engines[1])
    for engine in engines:
        engine.drain()
    # But for the clock, which may stand at the last completion or at a later arrival that was shed.
    assert shown(engines[0])[1:] == shown(engines[1])[1:]
    carries = [[log.carries for log in engine.records().stages] for engine in engines]
    for one_carries, other_carries in zip(*carries, strict=True):
        assert (one_carries is None) == (other_carries is None)
        assert one_carries is None or one_carries.tolist() == other_carries.tolist()
    for engine in engines:
        engine.close()
