"""Many nodes in one call are so many single ones, also where some of them are served event by event."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deeprec_env import InputError, Scenario, load_scenario
from deeprec_env.scenario.setting import ORDERS, PREDICTED, SPLITS, Setting
from deeprec_env.simulation.arrays import all_rows
from deeprec_env.simulation.batched_nodes import BatchedNodes
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.simulation.windows import Window, width
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.conftest import day_scenario, pipeline_day, plans_day
from tests.simulation.random_scenarios import allowed, bursty_traffics, scenarios, settings_of_a_window

NINE = {"kind": "lognormal", "mu": 1.0, "sigma": 0.8, "high": 9}


def with_ladders(scenario: Scenario) -> Scenario:
    """With all that its node can take on the ladders of the further controls."""
    fastest_ms = scenario._fastest_s * 1e3
    ladders: dict[str, Any] = {"splits": SPLITS, "orders": ORDERS}
    if scenario.sub_batches == 1:
        ladders["admits_ms"] = (fastest_ms, 3.0 * fastest_ms, 10.0 * fastest_ms, None)
        if scenario.has_accelerator:
            ladders["offloads"] = (1, 3, None, PREDICTED)
    return scenario.replace(control=scenario.control.model_copy(update=ladders))


@st.composite
def further_settings(draw: Any, scenario: Scenario) -> Setting:
    chosen: Setting = allowed(scenario, draw(settings_of_a_window))
    if not scenario.control.uses("order"):
        return chosen
    levels = {
        "split": draw(st.sampled_from(SPLITS)),
        "order": draw(st.sampled_from(ORDERS)),
        "admit_ms": draw(st.sampled_from(scenario.ladders["admit_ms"])),
    }
    if scenario.control.uses("offload"):
        levels["offload"] = draw(st.sampled_from(scenario.ladders["offload"]))
    return chosen.at(**levels)


@st.composite
def several_nodes(draw: Any) -> tuple[list[Scenario], list[Traffic], list[list[Setting]]]:
    """One to three nodes, each as drawn or with all further controls, with their traffic and settings by window."""
    count, windows = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    nodes, traffics, settings = [], [], []
    for _ in range(count):
        scenario = draw(scenarios())
        scenario = scenario.replace(workload={"arrivals": scenario.workload.arrivals, "sizes": NINE})
        if draw(st.integers(0, 3)):
            scenario = with_ladders(scenario)
        nodes.append(scenario)
        traffics.append(draw(bursty_traffics()))
        settings.append([draw(further_settings(scenario)) for _ in range(windows)])
    return nodes, traffics, settings


def assert_windows_are_those_of_single_nodes(
    nodes: list[Scenario], traffics: list[Traffic], settings: list[list[Setting]], interval: float
) -> BatchedNodes:
    """The same windows as so many `CompiledEngine`s."""
    engines = [CompiledEngine(scenario, traffic) for scenario, traffic in zip(nodes, traffics, strict=True)]
    stack = BatchedNodes(nodes)
    stack.start(traffics)
    shapes = [(len(scenario.stages), len(scenario.planned_stages)) for scenario in nodes]
    for index, in_force in enumerate(zip(*settings, strict=True)):
        begin_s, end_s = index * interval, (index + 1) * interval
        alone = [engine.run_window(setting, begin_s, end_s) for engine, setting in zip(engines, in_force, strict=True)]
        numbers = np.array([setting.numbers for setting in in_force])
        rows = stack.run_window(numbers, np.full(len(nodes), begin_s), np.full(len(nodes), end_s))
        together = [Window.of(row[: width(*shape)], shape[0]) for row, shape in zip(rows.tolist(), shapes, strict=True)]
        assert together == alone
    return stack


@given(drawn=several_nodes(), interval=st.sampled_from([0.25, 1.25]))
def test_nodes_with_further_controls_are_single_ones(
    drawn: tuple[list[Scenario], list[Traffic], list[list[Setting]]], interval: float
) -> None:
    nodes, traffics, settings = drawn
    assume(all(all_rows(scenario) for scenario in nodes))
    assert_windows_are_those_of_single_nodes(nodes, traffics, settings, interval)


def batching_day() -> dict[str, Any]:
    day = day_scenario(control={"interval_s": 0.1, "offloads": [1, 64, None, PREDICTED], "orders": list(ORDERS)})
    day["node"]["accelerator"] |= {"batching": {"max_items": 1000, "max_wait_ms": 2.0}}
    return day


def test_busy_nodes_that_forget_and_need_more_room_are_single_ones() -> None:
    """Beside each other one with batches, one without further controls, one with a pipeline and one with its parts."""
    others = (day_scenario(), pipeline_day(), plans_day(sub_batches=3))
    nodes = [load_scenario(batching_day()), *(load_scenario(other) for other in others)]
    nodes = [nodes[0], nodes[1], with_ladders(nodes[1]), with_ladders(nodes[2]), with_ladders(nodes[3]), nodes[3]]
    rng, settings, traffics = np.random.default_rng(0), [], []
    for number, scenario in enumerate(nodes):
        traffics.append(QueryStream(scenario.workload, episode_seed(number)).draw_until(3.0))
        controls = tuple(
            name for name in scenario.controls if name != "threshold" or "offload" not in scenario.controls
        )
        settings.append(
            [
                scenario.setting.at(
                    **{name: scenario.ladders[name][rng.integers(len(scenario.ladders[name]))] for name in controls}
                )
                for _ in range(30)
            ]
        )
    stack = assert_windows_are_those_of_single_nodes(nodes, traffics, settings, 0.1)
    assert stack._states.carries.shape[-1] > 0
    held, came = stack._states.counts[:, 1], stack._states.counts[:, 0]
    assert (held < came).all()  # something was forgotten everywhere


def test_nodes_may_become_others_that_are_served_event_by_event() -> None:
    plain = load_scenario(day_scenario())
    further = with_ladders(plain)
    traffic = QueryStream(plain.workload, episode_seed(0)).draw_until(0.5)
    stack = BatchedNodes([plain, plain])
    stack.start([traffic, traffic])
    spans = np.zeros(2), np.full(2, 0.3)
    stack.run_window(np.tile(plain.setting.numbers, (2, 1)), *spans)
    setting = further.setting.replace(order="small-first", admit_ms=further.ladders["admit_ms"][2])
    stack.start([traffic, traffic], [plain, further])
    rows = stack.run_window(np.array([plain.setting.numbers, setting.numbers]), *spans)
    alone = [
        CompiledEngine(scenario, traffic).run_window(in_force, 0.0, 0.3)
        for scenario, in_force in ((plain, plain.setting), (further, setting))
    ]
    assert [Window.of(row, 1) for row in rows.tolist()] == alone
    assert alone[1].shed_rate > 0.0


def test_a_query_larger_than_any_of_the_scenarios_sizes_is_refused_where_it_has_to_be_predicted() -> None:
    plain = load_scenario(day_scenario())
    most = int(plain.workload.sizes.probabilities()[0].max())
    larger = Traffic(np.zeros(1), np.array([most + 1]), 1)
    BatchedNodes([plain]).start([larger])
    stack = BatchedNodes([plain, with_ladders(plain)])
    with pytest.raises(InputError, match=f"items: .*{most + 1}.* must be at most {most}"):
        stack.start([larger, larger])
