"""Offloading by prediction and admission, computed by hand (rules 15 and 16)."""

from __future__ import annotations

from typing import Any, cast

import anyio
import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.simulation import AsyncioEngine
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import Traffic
from tests.simulation.by_hand import ENGINES_BY_HAND, drained, engine_of, node, pool, served, windows

each_engine = pytest.mark.parametrize("name", ENGINES_BY_HAND)


@each_engine
def test_queries_go_where_they_are_predicted_to_complete_first(name: str) -> None:
    accelerator = pool(base_ms=500, per_item_ms=0)
    scenario = node({"batch_size": 2, "offload": "predicted"}, cpu=pool(2), accelerator=accelerator)
    # 0 s, 4 items: 0.25 s on two idle cores, 0.5 s on the accelerator.
    # 0 s, 8 items: the first one's two requests go before; then four in turn on two cores: 0.75 s; accelerator 0.5 s.
    # 0.125 s, 2 items: 0.125 + 0.25 s on a core, 0.375 + 0.5 s on the accelerator.
    # 0.125 s, 8 items: both cores come free in 0.125 s, 0.25 s of work goes before: 0.25 + 0.5 s; accelerator 0.875 s.
    # 0.125 s, 4 items: with 1.25 s before it 0.75 + 0.25 s; accelerator 0.875 s.
    records = served(name, scenario, (0.0, 4), (0.0, 8), (0.125, 2), (0.125, 8), (0.125, 4))
    log = records.stages[0]
    assert log.offloaded.tolist() == [False, True, False, False, True]
    assert np.diff(log.first).tolist() == [2, 1, 1, 4, 1]
    assert log.start_s.tolist() == [0.0, 0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.5]
    assert records.completion_s.tolist() == [0.25, 0.5, 0.5, 1.0, 1.0]


@each_engine
def test_the_cpu_is_taken_where_both_are_as_good(name: str) -> None:
    scenario = node({"offload": "predicted"}, accelerator=pool(base_ms=500, per_item_ms=0))
    assert served(name, scenario, (0.0, 4), (9.0, 5)).offloaded.tolist() == [False, True]


@each_engine
def test_each_stage_decides_when_the_query_enters_it(name: str) -> None:
    quick = pool(base_ms=250, per_item_ms=0)
    second = {"name": "rank", "cpu": pool(), "accelerator": quick, "transfer_s": 0.25}
    scenario = node({"offload": "predicted"}, pipeline=[{"name": "filter", "cpu": pool(2)}, second])
    # Both enter the second stage at 0.75 s. The first takes 0.5 s on the core, 0.25 s on the accelerator; the second
    # 0.375 s on the core, and on the accelerator, where the first waits for the instant's starts, 0.5 s.
    records = served(name, scenario, (0.0, 4), (0.125, 3))
    assert records.stages[1].offloaded.tolist() == [True, False]
    assert records.stages[1].start_s.tolist() == [0.75, 0.75]
    assert records.completion_s.tolist() == [1.0, 1.125]


@each_engine
def test_an_offloaded_query_has_the_noise_of_its_first_part(name: str) -> None:
    latency = {"kind": "affine", "base_ms": 50, "per_item_ms": 0, "cv": 0.5}
    pools = {"cpu": pool(), "accelerator": {"servers": 1, "latency": latency}}
    scenario = node({"batch_size": 2, "offload": "predicted"}, **pools)
    queries = (0.0, 4), (5.0, 9), (9.0, 3)
    predicted = served(name, scenario, *queries)
    by_size = served(name, node({"batch_size": 2, "threshold": 1}, **pools), *queries)
    assert predicted.offloaded.all()
    assert predicted.completion_s.tolist() == by_size.completion_s.tolist()
    assert predicted.stages[0].first.tolist() == by_size.stages[0].first.tolist()


@each_engine
def test_predictions_see_the_slow_down_by_those_that_are_busy_and_the_overhead(name: str) -> None:
    cpu = pool(2, contention={"c": [1, 1, 0]})  # 1.5 with one busy server, 2 with two
    stage = {"name": "rank", "cpu": cpu, "overhead_s": 0.125}
    scenario = node({"orders": ["fcfs", "small-first"]}, pipeline=[stage])
    engine = engine_of(name, scenario, (0.0, 4), (0.25, 8), (0.5, 1))
    one, two = windows(engine, [scenario.setting] * 2, 0.0, 0.25, 0.75)
    assert one.predicted_s == 0.25 * 1.5 + 0.125  # on the idle server
    # The first ends at 0.875 s; the one that waits has 0.125 * 2 + 0.125 s to do; the second ends at 2.375 s.
    assert two.waiting_cpu == 1.0
    assert two.predicted_s == 0.125 + 0.375 + (0.25 * 2.0 + 0.125)
    assert drained(engine).completion_s.tolist() == [0.875, 2.375, 0.875 + 0.375]


ADMITTED = (0.0, 4), (0.125, 4), (0.25, 2), (0.25, 1), (0.5, 2), (0.5, 1)
"""On one core, within 1 s: 0.5; 0.375 + 0.5; 0.25 + 0.5 + 0.25, which is the limit; then 0.25 + 0.75 + 0.125 is beyond.
At 0.5 s the first has ended and none has started in its place: 0.75 + 0.25, the limit again, and 1 + 0.125."""


@each_engine
def test_queries_predicted_to_take_longer_than_the_limit_are_shed(name: str) -> None:
    scenario = node({"admit_ms": 1000})
    engine = engine_of(name, scenario, *ADMITTED)
    (window,) = windows(engine, [scenario.setting], 0.0, 2.0)
    assert engine.arrived == 6
    assert engine.completed == 4
    records = drained(engine)
    assert records.shed.tolist() == [False, False, False, True, False, True]
    assert records.completion_s[~records.shed].tolist() == [0.5, 1.0, 1.25, 1.5]
    assert np.diff(records.stages[0].first).tolist() == [1, 1, 1, 0, 1, 0]
    assert records.stages[0].end_s.tolist() == [0.5, 1.0, 1.25, 1.5]
    assert (window.shed_rate, window.violation_rate, window.sample) == (2 / 6, 2 / 6, 4.0)
    assert (window.backlog, window.completed_qps, window.offered_qps) == (0.0, 2.0, 3.0)


@each_engine
def test_a_pipeline_adds_up_its_stages_and_transfers(name: str) -> None:
    stages: Any = [{"name": "filter", "cpu": pool(), "keep": 1}, {"name": "rank", "cpu": pool(), "transfer_s": 0.25}]
    for admit_ms, shed in ((625, False), (624.9, True)):
        scenario = node({"admit_ms": admit_ms}, items=1, pipeline=stages)
        assert served(name, scenario, (0.0, 2)).shed.tolist() == [shed]


@each_engine
def test_admission_looks_at_the_better_pool_under_predicted_offload(name: str) -> None:
    accelerator = pool(base_ms=500, per_item_ms=0)
    scenario = node({"offload": "predicted", "admit_ms": 600}, accelerator=accelerator)
    records = served(name, scenario, (0.0, 9), (0.0, 4), (0.0, 4), (0.25, 1))
    assert records.shed.tolist() == [False, False, True, False]
    assert records.stages[0].offloaded[~records.shed].tolist() == [True, False, False]


@each_engine
def test_a_run_whose_queries_are_all_shed_is_done(name: str) -> None:
    scenario = node({"admit_ms": 300})
    records = served(name, scenario, (0.0, 4), (1.0, 4))
    assert records.shed.all()
    assert len(records.stages[0].start_s) == 0


def test_coroutines_set_all_controls_and_are_told_what_is_shed() -> None:
    control = {"orders": ["fcfs", "small-first"], "admits_ms": [1000, None], "splits": ["full", "even"]}
    scenario = node(control | {"offloads": [None, "predicted"]}, accelerator=pool())
    seen: list[tuple[float, int, int]] = []

    async def controller(engine: AsyncioEngine) -> None:
        engine.admit_ms, engine.order, engine.split, engine.offload = 1000, "small-first", "even", "predicted"
        changed = scenario.setting.replace(admit_ms=1000, order="small-first", split="even", offload="predicted")
        assert engine.setting == changed
        engine.order, engine.offload = "fcfs", "threshold"
        with pytest.raises(InputError, match="admit_ms"):
            engine.admit_ms = 100  # not even a lone query of two items keeps that
        assert (engine.admit_ms, engine.order, engine.split, engine.offload) == (1000, "fcfs", "even", "threshold")
        while True:
            await anyio.sleep(0.375)
            seen.append((engine.now_s, engine.shed, engine.in_flight))

    traffic = Traffic(np.array([at for at, _ in ADMITTED]), np.array([items for _, items in ADMITTED]), 7)
    records = run(scenario, traffic, engine="asyncio", coroutines=[cast(Any, controller)])
    assert records.shed.tolist() == [False, False, False, True, False, True]
    assert seen[:3] == [(0.375, 1, 3), (0.75, 2, 3), (1.125, 2, 2)]
