from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import InputError, Scenario, find_capacity, load_scenario, simulate
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation import AsyncioEngine
from deeprec_env.simulation.arrays import all_rows
from deeprec_env.simulation.batched_nodes import BatchedNodes
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.rates import PlannedRun
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.simulation.windows import Window
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.simulation.random_scenarios import allowed, bursty_traffics, scenarios, settings_of_a_window


def per_item(ms: float, servers: int = 2) -> dict[str, Any]:
    return {"servers": servers, "latency": {"kind": "affine", "base_ms": 0, "per_item_ms": ms}}


TWO_STAGES: dict[str, Any] = {
    "sla_ms": 2000,
    "workload": {"arrivals": {"kind": "poisson", "qps": 2}, "sizes": {"kind": "fixed", "items": 80}},
    "pipeline": [
        {"name": "filter", "cpu": per_item(1), "transfer_s": 0.25},
        {"name": "rank", "cpu": per_item(4), "accelerator": per_item(2, 1), "transfer_s": 0.5},
    ],
    "plans": [
        {"name": "both", "items": [60, 10], "quality": 0.8},
        {"name": "rank", "items": [0, 30], "quality": 0.9},
        {"name": "rough", "items": [100, 0], "latency": {"filter": {"cpu": {"kind": "constant", "ms": 7}}}},
    ],
    "control": {"batch_size": 20},
}


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (TWO_STAGES | changes).items() if value is not None}


def lone_latency_s(data: dict[str, Any], setting: tuple[int, int | None, int]) -> float:
    """Latency of a query of 80 items that meets nobody; the same in both engines."""
    scenario = load_scenario(data).with_setting(Setting(*setting))
    traffic = Traffic(np.array([1.0]), np.array([80]), 3)
    found = {float(run(scenario, traffic, engine=name).latency_s[0]) for name in ENGINES}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("setting", "seconds"),
    [
        ((20, None, 0), 0.25 + 0.04 + 0.5 + 0.04),  # three requests of 20 items on two cores, then one of 10
        ((20, 10, 0), 0.25 + 0.04 + 0.5 + 0.02),  # the ten go to the accelerator
        ((20, None, 1), 0.5 + 0.08),  # straight to the second stage, without the first one's transfer
        ((20, 31, 1), 0.5 + 0.08),
        ((20, 30, 1), 0.5 + 0.06),
        ((20, None, 2), 0.25 + 0.014),  # four requests of the other latency, on two cores; no second stage
    ],
)
def test_a_plan_says_how_many_items_enter_which_stage_and_how_long_they_take(
    setting: tuple[int, int | None, int], seconds: float
) -> None:
    assert lone_latency_s(TWO_STAGES, setting) == pytest.approx(seconds)


def test_an_accelerator_alone_takes_every_query_whole_and_whole_stages_never_split() -> None:
    first = {"name": "gpu", "accelerator": per_item(1, 1)}
    second = {"name": "sort", "cpu": per_item(1), "whole": True}
    data = changed(pipeline=[first, second], plans=None)
    for threshold in (None, 1, 1000):
        assert lone_latency_s(data, (10, threshold, 0)) == pytest.approx(0.08 + 0.08)
    scenario = load_scenario(data)
    assert scenario.thresholds == (None,)  # none of them makes a difference
    result = simulate(scenario, queries=2000)
    assert result.offloaded_fraction == 1.0
    assert result.offered_load == {"cpu": pytest.approx(2 * 0.08 / 2), "accelerator": pytest.approx(2 * 0.08)}
    assert result.usage.utilisation == pytest.approx(result.offered_load, rel=0.1)
    assert result.to_json()["devices"] == {"cpu": ["affine"], "accelerator": ["affine"]}


@given(
    scenario=scenarios(),
    traffic=bursty_traffics(),
    windows=st.lists(settings_of_a_window, min_size=1, max_size=6),
    interval=st.sampled_from([0.25, 1.25]),
)
def test_windows_are_the_same_in_both_engines_and_in_a_stack(
    scenario: Scenario, traffic: Traffic, windows: list[Setting], interval: float
) -> None:
    engines = [make_engine(scenario, traffic, name) for name in ENGINES]
    stack = BatchedNodes([scenario, scenario]) if all_rows(scenario) else None
    if stack is not None:
        stack.start([traffic, traffic])
    for index, setting in enumerate(windows):
        in_force, span = allowed(scenario, setting), (index * interval, (index + 1) * interval)
        one, two = (engine.run_window(in_force, *span) for engine in engines)
        assert one == two
        if stack is not None:
            rows = stack.run_window(np.tile(in_force.numbers, (2, 1)), *(np.full(2, time_s) for time_s in span))
            assert [Window.of(row, len(scenario.stages)) for row in rows.tolist()] == [one] * 2
    for engine in engines:
        engine.close()


@given(scenario=scenarios(), traffic=bursty_traffics(), other=bursty_traffics(), setting=settings_of_a_window)
def test_arrivals_may_be_others_from_now_on(
    scenario: Scenario, traffic: Traffic, other: Traffic, setting: Setting
) -> None:
    scenario = scenario.with_setting(allowed(scenario, setting))
    ahead = Traffic(3.0 + other.arrival_s, other.items, other.noise_key)
    seen = []
    for name in ENGINES:
        engine = make_engine(scenario, traffic, name)
        engine.advance(3.0)
        engine.expect(ahead)
        windows = [engine.run_window(scenario.setting, 3.0 * k, 3.0 * (k + 1)) for k in (1, 2)]
        engine.drain()
        records = engine.records()
        assert len(records) == (traffic.arrival_s < 3.0).sum() + len(other.items)
        seen.append((windows, records.completion_s.tobytes(), [log.start_s.tobytes() for log in records.stages]))
        engine.close()
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", ENGINES)
def test_a_window_tells_where_its_queries_are_and_how_each_plans_fared(name: str) -> None:
    scenario = load_scenario(changed(sla_ms=700))
    engine = make_engine(scenario, Traffic(np.array([1.0, 1.1]), np.array([80, 80]), 3), name)
    edges, windows = [0.0, 1.05, 1.27, 1.5, 4.0], []
    for plan, (begin_s, end_s) in zip((0, 1, 1, 1), pairwise(edges), strict=True):
        windows.append(engine.run_window(Setting(20, None, plan), begin_s, end_s))
    engine.close()
    # The first query: through the filter from 1.25 to 1.29 s, two requests of three at once, then to 1.79 s on its way.
    # The second skips the filter; 20 of its 30 items and the other 10 are ranked from 1.6 s on.
    at_end = [[backlog for *_, backlog in window.stages] for window in windows]
    assert at_end == [[1, 0], [1, 1], [0, 2], [0, 0]]
    busy = [window.stages[0][0] for window in windows]
    assert busy == pytest.approx([0.0, 2 * 0.02 / (2 * 0.22), 0.02 / (2 * 0.23), 0.0])
    assert windows[3].stages[1][0] == pytest.approx((0.08 + 0.04 + 0.04) / (2 * 2.5))
    assert [window.stages[1][1] for window in windows] == [0.0] * 4
    # Of plan 0 the first query, which took 830 ms; of plan 1 the second one, 580 ms; plan 2 has none.
    assert [window.plans for window in windows] == [((0, 0),) * 3] * 3 + [((1, 0), (1, 1), (0, 0))]


@given(scenario=scenarios(), traffic=bursty_traffics(), setting=settings_of_a_window, qps=st.sampled_from([0.5, 3.0]))
def test_a_planned_run_is_the_engines_run_at_any_rate(
    scenario: Scenario, traffic: Traffic, setting: Setting, qps: float
) -> None:
    scenario = scenario.with_setting(allowed(scenario, setting))
    planned, arrival_s = PlannedRun(scenario, traffic), traffic.arrival_s / qps
    at_rate = run(scenario, traffic.at(arrival_s))
    assert planned.latency_s(arrival_s).tobytes() == at_rate.latency_s.tobytes()
    visits = np.zeros(len(traffic.items))
    for demand in service_demands(scenario, scenario.setting):
        seconds, _ = planned.pool_seconds(demand)
        assert (seconds > 0).tolist() == planned.visits(demand).tolist()
        visits += planned.visits(demand)
    assert (visits == sum(n > 0 for n in scenario.planned_items[scenario.setting.plan])).all()


@pytest.mark.parametrize("plan", ["both", "rank", "rough"])
def test_offered_load_is_the_work_that_a_run_brings(plan: str) -> None:
    result = simulate(TWO_STAGES, plan=plan, threshold=25, queries=4000, qps=3)
    assert result.records is not None
    busy: dict[str, list[float]] = {"cpu": [], "accelerator": []}
    for log, stage in zip(result.records.stages, result.scenario.stages, strict=True):
        for kind, pool in stage.pools().items():
            starts, ends = log.of_pool(kind == "accelerator")
            busy[kind].append(float((ends - starts).sum()) / 4000 * 3 / pool.servers)
    assert result.offered_load == pytest.approx({kind: max(loads) for kind, loads in busy.items()})


STAGE = {"servers": 1, "latency": {"kind": "affine", "base_ms": 0, "per_item_ms": 1}}


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("sub_batches", [1, 2, 4, 8])
def test_equal_parts_through_equal_stages_are_a_flow_shop(stages: int, sub_batches: int) -> None:
    """s equal parts of p seconds need (s + k - 1) p on k equal machines in series (the permutation flow shop)."""
    pipeline = [{"name": f"s{position}", "accelerator": STAGE} for position in range(stages)]
    latency_s = lone_latency_s(changed(pipeline=pipeline, plans=None, sub_batches=sub_batches), (20, None, 0))
    assert latency_s == pytest.approx((sub_batches + stages - 1) * 0.08 / sub_batches)


@pytest.mark.parametrize(
    ("items", "seconds"),
    [
        ([80, 80], 0.027 + 0.027 + 0.027 + 0.026),  # 27, 27 and 26 of 80
        ([80, 7], 0.080 + 0.002),  # 3, 2 and 2 of the best 7: the last part leaves the first stage at 80 ms
        ([80, 2], 0.080 + 0.001),  # no more parts than items: 40 and 40
        ([0, 80], 0.080),
        ([80, 0], 0.080),
    ],
)
def test_sub_batches_are_as_equal_as_can_be_and_never_empty(items: list[int], seconds: float) -> None:
    pipeline = [{"name": name, "accelerator": STAGE} for name in ("filter", "rank")]
    plans = [{"name": "plan", "items": items}]
    assert lone_latency_s(changed(pipeline=pipeline, plans=plans, sub_batches=3), (20, None, 0)) == pytest.approx(
        seconds
    )


def test_a_query_is_counted_once_whatever_its_sub_batches() -> None:
    scenario = load_scenario(changed(sub_batches=4, plans=None))
    result = simulate(scenario, queries=3000, threshold=80)  # the threshold is for the query's items
    assert result.records is not None
    assert len(result.records) == 3000
    assert result.offloaded_fraction == 1.0
    assert [set(np.diff(log.first).tolist()) for log in result.records.stages] == [{4}, {4}]
    assert result.usage.qps_achieved == pytest.approx(2, rel=0.1)
    assert result.offered_load == pytest.approx({"cpu": 2 * 0.08 / 2, "accelerator": 2 * 0.16})
    for name in ENGINES:
        engine = make_engine(scenario, QueryStream(scenario.workload, episode_seed(0)).draw(40), name)
        window = engine.run_window(Setting(20, 80), 0.0, 5.0)
        arrived = engine.records()
        assert engine.arrived == len(arrived) == window.offered_qps * 5
        assert engine.completed == np.isfinite(arrived.completion_s).sum() == window.completed_qps * 5
        assert window.backlog == engine.arrived - engine.completed
        engine.close()


def test_sub_batches_need_a_pipeline() -> None:
    with pytest.raises(InputError, match="sub_batches: got 2; needs a pipeline"):
        load_scenario(changed(pipeline=None, plans=None, node={"cpu": per_item(1)}, sub_batches=2))


def test_results_and_records_name_the_plan(tmp_path: Path) -> None:
    result = simulate(TWO_STAGES, plan="rank", queries=1500, records=tmp_path / "r.csv")
    payload = result.to_json()
    assert (payload["plan"], payload["quality"]) == ("rank", 0.9)
    with (tmp_path / "r.csv").open(encoding="utf-8") as file:
        assert {row["plan"] for row in csv.DictReader(file)} == {"1"}
    assert simulate(TWO_STAGES, plan="2", queries=1500).to_json()["quality"] is None
    assert "plan" not in simulate(changed(plans=None), queries=1500, records=tmp_path / "n.csv").to_json()
    assert "plan" not in (tmp_path / "n.csv").read_text(encoding="utf-8").splitlines()[0]


def test_a_coroutine_changes_the_plan() -> None:
    async def controller(node: AsyncioEngine) -> None:
        node.plan = "rank"
        node.batch_size = 30
        assert (node.batch_size, node.plan) == (30, 1)

    result = simulate(TWO_STAGES, queries=3000, coroutines=[controller])
    assert result.records is not None
    assert set(result.records.plan.tolist()) == {1}
    with pytest.raises(InputError, match="plan: got 3; must be an index from 0 to 2, or one of both, rank, rough"):
        make_engine(load_scenario(TWO_STAGES), Traffic(np.ones(1), np.ones(1, int), 1)).control(Setting(1, None, 3))


def test_capacity_is_that_of_the_plan() -> None:
    found = {
        plan: find_capacity(TWO_STAGES, plan=plan, queries=20_000, p95_only=False, confirm=False)
        for plan in ("both", "rough")
    }
    assert found["both"].plan == "both"
    assert found["both"].to_json()["quality"] == 0.8
    assert found["rough"].qps / found["both"].qps > 2.0
    for plan, capacity in found.items():
        at_rate = simulate(TWO_STAGES, plan=plan, qps=0.5 * capacity.qps, queries=5000)
        assert at_rate.verdict == "pass"


def test_the_start_plan_is_the_scenarios_and_stays_with_other_settings() -> None:
    scenario = load_scenario(changed(control={"plan": "rank", "batch_size": 9}))
    assert scenario.setting.plan == 1
    assert with_options(scenario, batch_size=7).setting.plan == 1
    assert with_options(scenario, plan=2).setting.plan == 2
    traffic = QueryStream(scenario.workload, episode_seed(0)).draw(50)
    for name in ENGINES:
        engine = make_engine(scenario, traffic, name)
        engine.control(scenario.setting.replace(batch_size=5))
        engine.drain()
        assert set(engine.records().plan.tolist()) == {1}
        engine.close()
