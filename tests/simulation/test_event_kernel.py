"""The event kernel gives the bytes of the recursion, and of the asyncio engine, wherever the recursion may serve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeprec_env import InputError, Scenario, load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import HELD, all_rows, empty_state, node_arrays, with_room
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.engines import make_engine
from deeprec_env.simulation.event_kernel import forget_events, run_window_events
from deeprec_env.simulation.event_state import empty_events, events_with_room
from deeprec_env.simulation.node import completion_s
from deeprec_env.simulation.windows import Window, width
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.conftest import OwnLatency, pipeline_day, plans_day, queue
from tests.simulation.random_scenarios import allowed, bursty_traffics, scenarios, settings_of_a_window

changes = st.lists(settings_of_a_window, min_size=1, max_size=6)


def shown(engine: Engine, first: int = 0) -> tuple[object, ...]:
    """All that an engine shows at an instant of the queries from the `first`-th on."""
    records = engine.records(first)
    arrays: list[NDArray[Any]] = [records.query, records.arrival_s, records.items, records.setting]
    arrays.append(records.completion_s)
    for log in records.stages:
        arrays += [log.offloaded, log.first, log.start_s, log.end_s]
    return engine.now_s, engine.arrived, engine.completed, records.first, *(array.tobytes() for array in arrays)


@settings(max_examples=1000)
@given(
    scenario=scenarios(),
    traffic=bursty_traffics(),
    windows=changes,
    interval=st.sampled_from([0.25, 0.7, 1.25]),
    first_number=st.sampled_from([0, 977]),
)
def test_events_show_the_bytes_of_the_recursion_at_every_window(
    scenario: Scenario, traffic: Traffic, windows: list[Setting], interval: float, first_number: int
) -> None:
    assume(all_rows(scenario))
    traffic = traffic.numbered_from(first_number)
    recursion, events = CompiledEngine(scenario, traffic, "recursion"), CompiledEngine(scenario, traffic, "events")
    for index, setting in enumerate(windows):
        span = (index * interval, (index + 1) * interval)
        setting = allowed(scenario, setting)
        assert recursion.run_window(setting, *span) == events.run_window(setting, *span)
        assert shown(recursion) == shown(events)
    recursion.drain()
    events.drain()
    assert shown(recursion) == shown(events)


@given(scenario=scenarios(), traffic=bursty_traffics(), windows=changes, interval=st.sampled_from([0.25, 1.25]))
def test_events_show_the_bytes_of_the_asyncio_engine(
    scenario: Scenario, traffic: Traffic, windows: list[Setting], interval: float
) -> None:
    assume(all_rows(scenario))
    reference, events = make_engine(scenario, traffic, "asyncio"), CompiledEngine(scenario, traffic, "events")
    for index, setting in enumerate(windows):
        span = (index * interval, (index + 1) * interval)
        setting = allowed(scenario, setting)
        assert reference.run_window(setting, *span) == events.run_window(setting, *span)
        assert shown(reference) == shown(events)
    reference.drain()
    events.drain()
    assert shown(reference) == shown(events)
    reference.close()


@given(scenario=scenarios(), traffic=bursty_traffics(), other=bursty_traffics(), windows=changes)
def test_forks_and_other_arrivals_go_on_as_in_the_recursion(
    scenario: Scenario, traffic: Traffic, other: Traffic, windows: list[Setting]
) -> None:
    """The future has other noise, which the queries in flight do not meet, and may need more room."""
    assume(all_rows(scenario))
    recursion, events = CompiledEngine(scenario, traffic, "recursion"), CompiledEngine(scenario, traffic, "events")
    for index, setting in enumerate(windows):
        for engine in (recursion, events):
            engine.run_window(allowed(scenario, setting), 0.8 * index, 0.8 * (index + 1))
        before = shown(events)
        future = other.at(engine.now_s + other.arrival_s)
        forks = [engine.fork(future) for engine in (recursion, events)]
        for fork in forks:
            fork.run_window(allowed(scenario, windows[0]), engine.now_s, engine.now_s + 1.3)
        assert shown(forks[0]) == shown(forks[1])
        for fork in forks:
            fork.drain()
        assert shown(forks[0]) == shown(forks[1])
        assert shown(events) == before
    ahead = other.at(events.now_s + other.arrival_s)
    for engine in (recursion, events):
        engine.expect(ahead)
        engine.drain()
    assert shown(recursion) == shown(events)


@pytest.mark.parametrize("data", [pipeline_day(), plans_day(), plans_day(sub_batches=3)])
def test_what_has_completed_can_be_forgotten_and_room_grows(data: dict[str, Any]) -> None:
    """As nodes in a batch do it: after some windows those that have completed are dropped."""
    scenario = load_scenario(data)
    traffic = QueryStream(scenario.workload, episode_seed(3)).draw(500)
    recursion = CompiledEngine(scenario, traffic, "recursion")
    node = node_arrays(scenario)
    state, events = empty_state(node, 4, 16), empty_events(node, 4)
    row = np.empty(width(len(scenario.stages), len(scenario.planned_items)))
    forgot = grew = 0
    for index in range(15):
        span, plan = (0.1 * index, 0.1 * (index + 1)), index % len(scenario.planned_items)
        setting = Setting((8, 64, 300)[index % 3], (None, 20)[index % 2], plan)
        while True:
            needed = run_window_events(
                node, state, events, np.uint64(traffic.noise_key), traffic.arrival_s, traffic.items, traffic.query,
                setting.numbers, *span, scenario.sla_s, row,
            )  # fmt: skip
            if needed == (0, 0):
                break
            state, events = with_room(node, state, *needed), events_with_room(node, events, needed[0])
            grew += 1
        assert Window.of(row.tolist(), len(scenario.stages)) == recursion.run_window(setting, *span)
        held = int(state.counts[HELD])
        in_flight = completion_s(node, state, 0, held) == math.inf
        assert in_flight.sum() == recursion.arrived - recursion.completed
        if index % 2:
            forgot += held - int(in_flight.sum())
            forget_events(node, state, events, in_flight)
    assert forgot > 100
    assert grew > 1


def test_a_query_meets_its_noise_by_its_number() -> None:
    scenario = queue(1, {"kind": "exponential", "mean_ms": 1}, 1.0)
    traffic = Traffic(np.arange(50.0), np.ones(50, dtype=np.int64), 7)
    odd = traffic.chosen(np.arange(1, 50, 2))
    found = []
    for chosen in (traffic, odd, odd.numbered_from(0)):
        engine = CompiledEngine(scenario, chosen, "events")
        engine.drain()
        found.append(engine.records().completion_s - chosen.arrival_s)
    assert found[1].tolist() == found[0][1::2].tolist()
    assert not np.isclose(found[2], found[1]).any()


def test_a_latency_that_only_python_can_tell_is_refused() -> None:
    scenario = queue(1, OwnLatency(), 1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"latency: .* use engine asyncio"):
        CompiledEngine(scenario, Traffic(np.ones(1), np.ones(1, dtype=np.int64), 1), "events")
