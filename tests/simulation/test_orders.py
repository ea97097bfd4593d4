"""How queries are split and in which order they leave the queues, computed by hand (rules 13 and 14)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deeprec_env import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import all_rows
from deeprec_env.simulation.engines import make_engine
from deeprec_env.workload import Traffic
from tests.simulation.by_hand import ENGINES_BY_HAND, drained, engine_of, node, pool, served, windows
from tests.simulation.random_scenarios import allowed, bursty_traffics, scenarios, settings_of_a_window

each_engine = pytest.mark.parametrize("name", ENGINES_BY_HAND)


@each_engine
@pytest.mark.parametrize(("split", "starts"), [("full", [0.0, 0.5, 1.0]), ("even", [0.0, 0.5, 0.875])])
def test_even_parts_differ_by_at_most_an_item_the_larger_first(name: str, split: str, starts: list[float]) -> None:
    records = served(name, node({"batch_size": 4, "split": split}), (0.0, 10))
    assert records.stages[0].start_s.tolist() == starts
    assert records.completion_s.tolist() == [1.25]


@each_engine
@pytest.mark.parametrize(("split", "starts"), [("full", [0.0, 0.5, 0.625, 1.125]), ("even", [0.0, 0.375, 0.625, 1.0])])
def test_each_sub_batch_is_cut_by_itself(name: str, split: str, starts: list[float]) -> None:
    stage = {"name": "rank", "cpu": pool()}
    scenario = node({"batch_size": 4, "split": split}, pipeline=[stage]).replace(sub_batches=2)
    records = served(name, scenario, (0.0, 10))
    assert records.stages[0].start_s.tolist() == starts


@each_engine
def test_small_queries_go_first_and_equal_ones_by_their_number(name: str) -> None:
    scenario = node({"order": "small-first"})
    records = served(name, scenario, (0.0, 8), (0.125, 4), (0.25, 2), (0.375, 2), (1.25, 1))
    assert records.completion_s.tolist() == [1.0, 2.125, 1.25, 1.625, 1.375]


@each_engine
def test_a_query_started_in_part_keeps_its_place_and_smaller_ones_go_before_the_rest_of_it(name: str) -> None:
    scenario = node({"order": "small-first", "batch_size": 2})
    records = served(name, scenario, (0.0, 4), (0.125, 1), (0.125, 4))
    assert records.stages[0].start_s.tolist() == [0.0, 0.375, 0.25, 0.625, 0.875]
    assert records.completion_s.tolist() == [0.625, 0.375, 1.125]


@each_engine
def test_least_slack_is_the_deadline_less_the_mean_of_the_first_request(name: str) -> None:
    scenario = node({"order": "least-slack"})
    # Slacks: 2.125 - 0.125 = 2, 2.25 - 0.5 = 1.75, 2.375 - 0.25 = 2.125, and 2.5 - 0.5 = 2 as the second's.
    queries = (0.0, 8), (0.125, 1), (0.25, 4), (0.375, 2), (0.5, 4)
    assert served(name, scenario, *queries).completion_s.tolist() == [1.0, 1.625, 1.5, 2.375, 2.125]


@each_engine
def test_a_new_order_holds_from_its_windows_start_for_all_that_wait(name: str) -> None:
    scenario = node({"orders": ["fcfs", "small-first"]})
    engine = engine_of(name, scenario, (0.0, 4), (0.125, 4), (0.25, 3), (0.375, 2))
    fcfs = scenario.setting
    first, second = windows(engine, [fcfs, fcfs.replace(order="small-first")], 0.0, 1.0, 3.0)
    # At 0.5 s the second query goes, though the last is smaller; it ends at 1 s, the instant of the new order.
    assert drained(engine).completion_s.tolist() == [0.5, 1.0, 1.625, 1.25]
    assert (first.waiting_cpu, first.waiting_accelerator, second.waiting_cpu) == (2.0, 0.0, 0.0)
    # Behind five items that wait, on a server that is about to come free; then on an idle one.
    assert (first.predicted_s, second.predicted_s) == (0.625 + 0.25, 0.25)


@each_engine
@given(
    scenario=scenarios(),
    traffic=bursty_traffics(),
    changes=st.lists(settings_of_a_window, min_size=1, max_size=6),
)
def test_a_queue_that_could_have_another_order_is_the_fcfs_queue_until_it_has(
    name: str, scenario: Scenario, traffic: Traffic, changes: list[Setting]
) -> None:
    assume(name == "asyncio" or all_rows(scenario))
    control = scenario.control.model_dump() | {"orders": ["fcfs", "least-slack"]}
    seen = []
    for each in (scenario, scenario.replace(control=control)):
        engine = make_engine(each, traffic, name)
        for index, setting in enumerate(changes):
            engine.control(allowed(each, setting))
            engine.advance(1.25 * (index + 1))
        records = drained(engine)
        seen.append([records.completion_s, *(times for log in records.stages for times in (log.start_s, log.end_s))])
    assert all(np.array_equal(one, other) for one, other in zip(*seen, strict=True))
