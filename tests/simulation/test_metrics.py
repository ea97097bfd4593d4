from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import InputError, load_scenario, simulate
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation import AsyncioEngine, write_records
from deeprec_env.simulation.intervals import mean_interval, quantile_interval
from deeprec_env.simulation.offered_load import offered_load, service_demands
from deeprec_env.simulation.records import RECORD_COLUMNS
from deeprec_env.simulation.window_meter import WindowMeter, measure_window
from deeprec_env.simulation.window_metrics import measure_sample, percentile, smallest
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.conftest import day_scenario, queue


def small_run() -> tuple[AsyncioEngine, WindowMeter]:
    """One server, 0.4 s a query, target 0.5 s, arrivals at 0, 0.1, 0.2, 1.5: completions at 0.4, 0.8, 1.2, 1.9."""
    scenario = queue(1, {"kind": "constant", "ms": 400}, 1.0, sla_ms=500)
    pool = scenario.stages[0].cpu.model_copy(update={"idle_w": 10.0, "busy_w": 30.0})
    assert scenario.node is not None
    scenario = scenario.replace(node=scenario.node.model_copy(update={"cpu": pool}))
    engine = AsyncioEngine(scenario, Traffic(np.array([0.0, 0.1, 0.2, 1.5]), np.array([3, 4, 5, 6]), 1))
    return engine, WindowMeter(scenario)


def test_a_window_holds_what_a_live_server_could_know() -> None:
    engine, meter = small_run()
    engine.advance(1.0)
    window = meter.close_window(engine.records, 0.0, 1.0)
    # Completed: 0.4 and 0.7 s. In flight: the third, aged 0.8 s at the end, older than the target.
    assert window.sample == 3
    assert window.p50_s == pytest.approx(0.7)
    assert window.violation_rate == pytest.approx(2 / 3)
    assert (window.offered_qps, window.completed_qps, window.backlog) == (3.0, 2.0, 1)
    assert window.mean_items == 4.0
    assert window.cpu_utilisation == pytest.approx(1.0)
    assert window.accelerator_utilisation == 0.0
    assert window.energy_j == pytest.approx(30.0)
    engine.advance(1.4)
    window = meter.close_window(engine.records, 1.0, 1.4)
    assert window.sample == 1
    assert window.p95_s == pytest.approx(1.0)
    assert window.energy_j == pytest.approx(10.0 * 0.4 + 20.0 * 0.2)
    engine.advance(1.5)
    window = meter.close_window(engine.records, 1.4, 1.5)  # the arrival at its end belongs to the next
    assert (window.sample, window.p95_s, window.violation_rate, window.offered_qps) == (0, 0.0, 0.0, 0.0)
    engine.advance(2.0)
    assert meter.close_window(engine.records, 1.5, 2.0).p95_s == pytest.approx(0.4)


def test_windows_add_up_to_the_run_and_do_not_depend_on_what_is_cut_off_before_them() -> None:
    scenario = load_scenario(day_scenario())
    traffic = QueryStream(scenario.workload, episode_seed(1)).draw(600)
    engine, meter = AsyncioEngine(scenario, traffic), WindowMeter(scenario)
    windows = []
    for index in range(20):
        engine.advance((index + 1) * 0.1)
        window = meter.close_window(engine.records, index * 0.1, (index + 1) * 0.1)
        assert window == measure_window(engine.records(), scenario, index * 0.1, (index + 1) * 0.1)
        windows.append(window)
    engine.drain()
    records = engine.records()
    assert sum(window.completed_qps for window in windows) * 0.1 == pytest.approx((records.completion_s < 2.0).sum())
    (log,) = records.stages
    busy = (np.minimum(log.end_s, 2.0) - np.minimum(log.start_s, 2.0)).sum()
    assert sum(window.cpu_utilisation for window in windows) * 0.1 * 8 == pytest.approx(busy)


def test_an_instant_that_is_a_windows_end_is_the_next_windows() -> None:
    scenario = queue(1, {"kind": "constant", "ms": 500}, 1.0)
    engine = AsyncioEngine(scenario, Traffic(np.array([0.5, 1.0]), np.array([8, 8]), 1))
    engine.advance(1.0)
    assert (engine.arrived, engine.completed) == (1, 0)
    engine.control(Setting(2, None))
    engine.drain()
    assert engine.records().batch_size.tolist() == [25, 2]


def test_summaries_cut_the_warm_up_by_arrival() -> None:
    result = simulate(day_scenario(), queries=30_000, qps=300)
    assert result.warmup == 1500
    counted = result.records.latency_s[1500:]
    assert result.tail.p95_s == np.percentile(counted, 95)
    span = result.records.arrival_s[-1] - result.records.arrival_s[1500]
    assert result.usage.qps_achieved == pytest.approx(28_500 / span, rel=0.01)
    assert simulate(day_scenario(), queries=3000).warmup == 1000


def test_energy_is_power_over_time() -> None:
    result = simulate(day_scenario(), queries=5000, qps=300, batch_size=64, threshold=300)
    cpu, accelerator = result.usage.utilisation["cpu"], result.usage.utilisation["accelerator"]
    assert cpu is not None
    assert accelerator is not None
    watts = (20 + 40 * cpu) + (30 + 170 * accelerator)
    assert result.usage.joules_per_query == pytest.approx(watts / result.usage.qps_achieved)
    assert result.usage.qps_per_watt == pytest.approx(result.usage.qps_achieved / watts)


def test_without_watts_there_is_no_energy() -> None:
    data = day_scenario()
    for pool in data["node"].values():
        pool.pop("idle_w", None)
        pool.pop("busy_w", None)
    result = simulate(data, queries=1500, qps=300)
    assert math.isnan(result.usage.joules_per_query)
    assert result.usage.qps_per_watt is None
    assert result.to_json()["joules_per_query"] is None


def test_the_interval_of_the_mean_holds_no_negative_latency() -> None:
    latency_s = np.ones(2000)
    latency_s[:100] = 1000.0
    low, high = mean_interval(latency_s)
    assert low == 0.0
    assert high > latency_s.mean()


def test_offered_load_is_the_mean_work_of_a_query() -> None:
    scenario = load_scenario(day_scenario())
    rng = np.random.default_rng(0)
    sizes = scenario.workload.sizes.draw(rng, 200_000)
    loads = offered_load(scenario, 500.0, Setting(32, 256))
    small = sizes[sizes < 256]
    demand = np.ceil(small / 32) * 0.5e-3 + small * 0.05e-3
    assert loads["cpu"] == pytest.approx(500 * demand.sum() / 200_000 / 8, rel=0.01)
    large = sizes[sizes >= 256]
    assert loads["accelerator"] == pytest.approx(500 * (1e-3 + 4e-6 * large).sum() / 200_000, rel=0.02)
    (cpu, accelerator) = service_demands(scenario, Setting(32, 256))
    assert (cpu.label, accelerator.label) == ("cpu", "accelerator")
    assert cpu.load(cpu.saturation_qps) == pytest.approx(1.0)


def test_quantile_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    expected, covered = -math.log(0.05), 0
    for _ in range(400):
        low, high = quantile_interval(rng.exponential(size=2000), 0.95)
        covered += low <= expected <= high
    assert 0.91 <= covered / 400 <= 0.98
    assert quantile_interval(rng.exponential(size=40), 0.99)[1] == math.inf


def test_records_are_one_line_a_query_by_repr(tmp_path: Path) -> None:
    result = simulate(day_scenario(), queries=1200, threshold=300)
    path = tmp_path / "records.csv"
    write_records(result.records, result.warmup, path)
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == RECORD_COLUMNS
    assert [int(row["query"]) for row in rows] == list(range(1200))
    assert [float(row["completion_s"]) for row in rows] == result.records.completion_s.tolist()
    assert [row["warmup"] for row in rows] == ["True"] * 1000 + ["False"] * 200
    assert {row["offloaded"] for row in rows} == {"True", "False"}
    for bad in (tmp_path, tmp_path / "no" / "r.csv", tmp_path / "records.txt"):
        with pytest.raises(InputError, match="records"):
            write_records(result.records, result.warmup, bad)


def test_records_as_parquet_hold_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    result = simulate(day_scenario(), queries=1200, threshold=300, records=tmp_path / "records.parquet")
    write_records(result.records, result.warmup, tmp_path / "records.csv")
    table = parquet.read_table(tmp_path / "records.parquet")
    assert tuple(table.column_names) == RECORD_COLUMNS
    with (tmp_path / "records.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert [[str(value) for value in row.values()] for row in table.to_pylist()] == rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records.csv", "records.parquet"]


def test_a_run_too_short_to_summarise_is_refused() -> None:
    with pytest.raises(InputError, match="queries: got 1000; must be at least 1100"):
        simulate(day_scenario(), queries=1000)
    with pytest.raises(InputError, match="engine"):
        simulate(day_scenario(), queries=2000, engine="quantum")
    with pytest.raises(InputError, match="qps"):
        simulate(day_scenario(), queries=2000, qps=-1)


def test_pipelines_keep_the_best_items_and_add_their_stages() -> None:
    pool = {"servers": 4, "latency": {"kind": "affine", "base_ms": 0, "per_item_ms": 1}}
    scenario = load_scenario(
        {
            "sla_ms": 1e6,
            "workload": {"arrivals": {"kind": "poisson", "qps": 0.01}, "sizes": {"kind": "fixed", "items": 100}},
            "pipeline": [
                {"name": "filter", "cpu": pool, "keep": 10, "overhead_s": 0.5},
                {"name": "rank", "cpu": pool, "transfer_s": 2.0},
            ],
            "control": {"batch_size": 50},
        }
    )
    result = simulate(scenario, queries=1200)
    # Two requests of 50 items at 1 ms beside each other, with 0.5 s overhead; 2 s to the next stage; 10 items.
    assert result.records.latency_s[0] == pytest.approx(0.05 + 0.5 + 2.0 + 0.01)
    assert np.median(result.records.latency_s) == pytest.approx(2.56)
    assert result.offered_load["cpu"] == pytest.approx(0.01 * 2 * 0.55 / 4)


@given(
    values=st.lists(st.floats(0.0, 1e3), min_size=1, max_size=60),
    others=st.lists(st.floats(0.0, 1e3), max_size=60),
    level=st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]),
)
def test_percentiles_are_numpys_to_the_bit(values: list[float], others: list[float], level: float) -> None:
    one, other = np.sort(values), np.sort(np.array(others))
    merged = [smallest(one, other, rank) for rank in range(len(values) + len(others))]
    assert merged == sorted(values + others)
    assert percentile(one, other, level) == np.percentile(values + others, level * 100)


@given(
    arrivals=st.lists(st.integers(0, 40), min_size=1, max_size=40),
    seconds=st.lists(st.one_of(st.integers(1, 30), st.just(math.inf)), min_size=40, max_size=40),
    sla=st.integers(1, 20),
)
def test_a_sample_is_what_the_rule_says(arrivals: list[int], seconds: list[float], sla: int) -> None:
    begin, end = 20.0, 41.0
    arrival_s = np.sort(np.array(arrivals, dtype=float))
    completion_s = arrival_s + np.array(seconds[: len(arrivals)])
    items = np.arange(1, len(arrivals) + 1)
    in_flight, completed = completion_s >= end, (completion_s >= begin) & (completion_s < end)
    ages = (end - arrival_s)[in_flight]
    expected = np.concatenate([(completion_s - arrival_s)[completed], ages[ages > sla]])
    arrived = arrival_s >= begin
    found = measure_sample(arrival_s, items, completion_s, begin, end, float(sla))
    assert (found.size, found.completed, found.backlog) == (expected.size, completed.sum(), in_flight.sum())
    assert found.arrived == arrived.sum()
    assert found.mean_items == (items[arrived].mean() if arrived.any() else 0.0)
    assert found.within == (expected <= sla).sum()
    percentiles = np.percentile(expected, [50, 95, 99]).tolist() if expected.size else [0.0] * 3
    assert [found.p50_s, found.p95_s, found.p99_s] == percentiles
    assert found.violation_rate == ((expected > sla).mean() if expected.size else 0.0)
