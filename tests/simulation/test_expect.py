"""Arrivals that an engine is told of as it goes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import InputError, Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.workload import Traffic
from tests.conftest import queue
from tests.simulation.random_scenarios import allowed, bursty_traffics, scenarios, settings_of_a_window
from tests.simulation.test_paths import INTERVAL_S, controlled

both_engines = pytest.mark.parametrize("name", ENGINES)


@both_engines
@given(
    scenario=scenarios(),
    traffic=bursty_traffics(),
    windows=st.lists(settings_of_a_window, min_size=1, max_size=8),
)
def test_window_by_window_is_the_same_as_all_at_the_start(
    name: str, scenario: Scenario, traffic: Traffic, windows: list[Setting]
) -> None:
    expected = controlled(make_engine(scenario, traffic, name), scenario, windows)
    engine, begin = make_engine(scenario, traffic.part(0, 0), name), 0
    for index, setting in enumerate(windows):
        last = index + 1 == len(windows)
        end = len(traffic.items) if last else int(np.searchsorted(traffic.arrival_s, (index + 1) * INTERVAL_S))
        engine.expect(traffic.part(begin, end))
        engine.run_window(allowed(scenario, setting), index * INTERVAL_S, (index + 1) * INTERVAL_S)
        begin = end
    engine.drain()
    records = engine.records()
    assert engine.arrived == engine.completed == len(traffic.items)
    engine.close()
    for mine, theirs in ((records, expected), *zip(records.stages, expected.stages, strict=True)):
        for field, value in vars(theirs).items():
            if isinstance(value, np.ndarray):
                assert getattr(mine, field).tobytes() == value.tobytes()


@both_engines
def test_what_was_still_to_come_is_forgotten(name: str) -> None:
    scenario = queue(1, {"kind": "constant", "ms": 100}, 1.0)
    engine = make_engine(scenario, Traffic(np.array([1.0, 2.0, 3.0]), np.ones(3, dtype=np.int64), 1), name)
    engine.advance(1.5)
    engine.expect(Traffic(np.array([1.5, 1.75]), np.ones(2, dtype=np.int64), 1))
    engine.drain()
    assert engine.records().arrival_s.tolist() == [1.0, 1.5, 1.75]
    engine.expect(Traffic(np.array([4.0]), np.ones(1, dtype=np.int64), 1))
    engine.advance(4.05)
    assert engine.records().completion_s.tolist() == [1.1, 1.6, 1.85, math.inf]
    engine.drain()
    assert engine.completed == 4
    engine.close()


@both_engines
def test_arrivals_in_the_past_are_refused(name: str) -> None:
    engine = make_engine(queue(1, {"kind": "constant", "ms": 1}, 1.0), Traffic(np.zeros(0), np.zeros(0, int), 1), name)
    engine.advance(2.0)
    with pytest.raises(InputError, match="must not lie before the present"):
        engine.expect(Traffic(np.array([1.0]), np.ones(1, dtype=np.int64), 1))
    engine.close()
