"""Capacity under the further controls: orders, even parts, predicted offloading, admission and batching."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq, linprog

from deeprec_env import Scenario, find_capacity, load_scenario
from deeprec_env.analysis.capacity import CapacityEstimate, rate_limit
from deeprec_env.analysis.fluid import most_qps
from deeprec_env.analysis.sweep import COLUMNS, Sweep
from deeprec_env.cli.main import main
from deeprec_env.simulation.offered_load import busy_seconds, service_demands, split_seconds
from deeprec_env.simulation.rates import PlannedRun
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.simulation.splitting import cut, request_items, stage_rule
from deeprec_env.simulation.summary import summarise_tail
from deeprec_env.workload.checked import size_probabilities
from deeprec_env.workload.stream import QueryStream, episode_seed
from tests.conftest import day_scenario, queue
from tests.simulation.closed_forms import md1_wait_within, mm1_p95_response

TEN_MS = {"kind": "constant", "ms": 10}
FURTHER: dict[str, dict[str, Any]] = {
    "small-first": {"order": "small-first", "threshold": 350},
    "predicted": {"offload": "predicted", "split_rule": "even"},
    "admission": {"offload": "predicted", "order": "least-slack", "admit": 40.0},
}


def twins(**changes: Any) -> dict[str, Any]:
    """Two servers of the same constant service, one of them an accelerator; queries of one item; a loose target."""
    pool = {"servers": 1, "latency": TEN_MS}
    return {
        "sla_ms": 60_000,
        "workload": {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": {"kind": "fixed", "items": 1}},
        "node": {"cpu": pool, "accelerator": pool | changes},
    }


def holds(found: CapacityEstimate, exact: float) -> None:
    assert found.qps_ci is not None
    assert found.qps_ci[0] <= exact <= found.qps_ci[1]
    assert found.qps == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("name", FURTHER)
def test_a_planned_run_is_the_engines_run_at_any_rate(name: str) -> None:
    scenario = with_options(load_scenario(day_scenario()), qps=1.0, **FURTHER[name])
    seed = episode_seed(3)
    planned = PlannedRun(scenario, QueryStream(scenario.workload, seed).draw(1500))
    rates = np.array([80.0, 2500.0, 700.0])  # the overloaded one leaves nothing behind
    tails = planned.tails(rates, 100)
    for qps, tail in zip(rates.tolist(), tails, strict=True):
        records = run(scenario, QueryStream(with_options(scenario, qps=qps).workload, seed).draw(1500))
        assert planned.latency_s(planned.unit.arrival_s / qps).tobytes() == records.latency_s.tobytes()
        summary = summarise_tail(records, 100)
        assert tail[1:].tolist() == [summary.p50_s, summary.p95_s, summary.p99_s]
        assert records.shed.any() == (name == "admission" and qps > 700)


def test_equal_queries_are_served_alike_in_any_order() -> None:
    """M/M/1: smallest first is FCFS then, and the replications that start empty find what those in steady state do."""
    sla_ms = 12_000.0
    node = queue(1, {"kind": "exponential", "mean_ms": 1000}, 1.0, sla_ms=sla_ms)
    found = find_capacity(node, order="small-first", queries=200_000)
    exact = brentq(lambda rate: mm1_p95_response(rate, 1.0) * 1e3 - sla_ms, 0.01, 0.99)
    holds(found, exact)
    assert found.limited_by == "sla"
    assert found.further == {"order": "small-first"}


def test_an_order_leaves_the_bound_of_stability_where_it_is() -> None:
    data, options = day_scenario(sla_ms=60_000), {"batch_size": 1000, "threshold": 350, "queries": 1500}
    loose = {
        order: find_capacity(data, order=order, p95_only=False, confirm=False, **options)  # type: ignore[arg-type]
        for order in ("fcfs", "small-first")
    }
    assert loose["fcfs"].limited_by == loose["small-first"].limited_by != "sla"
    assert loose["fcfs"].qps == loose["small-first"].qps
    assert loose["fcfs"].offered_load == loose["small-first"].offered_load


@pytest.mark.parametrize(("p99_factor", "limited_by", "allowed"), [(None, "sla", 0.05), (2.0, "p99", 0.01)])
def test_admission_makes_the_share_that_is_shed_the_limit(
    p99_factor: float | None, limited_by: str, allowed: float
) -> None:
    """M/D/1 that refuses who would wait longer than t loses (1 - r) q / (1 - r q), q = P(W > t) of the queue of all."""
    limit_ms, service_s = 45.0, 0.01
    node = queue(1, TEN_MS, 1.0, sla_ms=1000.0, p99_factor=p99_factor)
    found = find_capacity(node, admit=limit_ms, queries=300_000)

    def lost(rate: float) -> float:
        load, late = rate * service_s, 1.0 - md1_wait_within(limit_ms * 1e-3 - service_s, rate, service_s)
        return (1.0 - load) * late / (1.0 - load * late)

    holds(found, brentq(lambda rate: lost(rate) - allowed, 1.0, 99.9))
    assert found.limited_by == limited_by
    assert found.shed_rate == pytest.approx(allowed, rel=0.1)
    assert found.to_json()["shed_rate"] == found.shed_rate
    assert found.to_json()["admit_ms"] == limit_ms


def test_where_the_state_decides_the_backlog_says_what_is_stable() -> None:
    """Two equal servers that predicted offloading keeps busy alike carry twice what one does."""
    found = find_capacity(twins(), offload="predicted", queries=80_000)
    assert rate_limit(with_options(load_scenario(twins()), offload="predicted")) == (pytest.approx(200.0), "unstable")
    assert found.limited_by == "unstable"
    assert 194.0 < found.qps <= 200.0
    for load in found.offered_load.values():
        assert load == pytest.approx(found.qps / 200.0, abs=0.02)
    assert find_capacity(twins(), threshold=1, queries=4000).qps == pytest.approx(100.0, rel=0.01)


def test_batches_carry_as_much_as_they_hold() -> None:
    """Of a constant service that takes up to four items at once: M/D^[4]/1, stable below 4 / D."""
    scenario = twins(batching={"max_items": 4})
    found = find_capacity(scenario, threshold=1, queries=80_000)
    assert found.limited_by == "unstable"
    assert 388.0 < found.qps <= 400.0
    assert found.offered_load["accelerator"] > 0.97
    assert found.offered_load["cpu"] == 0.0
    beaten = find_capacity(scenario, threshold=1, queries=80_000, at_least=410.0)
    assert (beaten.qps, beaten.limited_by) == (0.0, "unstable")


@pytest.mark.parametrize("batch_size", [8, 50, 400])
def test_no_division_of_the_work_carries_more_than_the_bound(batch_size: int) -> None:
    """The bound is the linear program's: the share of the queries of each size that go to the accelerator."""
    scenario = with_options(load_scenario(day_scenario()), qps=1.0, offload="predicted", batch_size=batch_size)
    (stage,) = scenario.stages
    assert stage.cpu is not None
    assert stage.accelerator is not None
    items, probability = size_probabilities(scenario.workload.sizes)
    cpu_s = split_seconds(stage, stage.cpu, items, batch_size, even=False) / stage.cpu.servers
    accelerator_s = busy_seconds(stage, stage.accelerator, items) / stage.accelerator.servers
    # The least busy time a query, z: z >= sum p x a on the accelerator, z >= sum p (1 - x) c on the CPU.
    busiest = [[*(probability * accelerator_s), -1.0], [*(-probability * cpu_s), -1.0]]
    least = linprog(
        [*np.zeros(len(items)), 1.0],
        A_ub=busiest,
        b_ub=[0.0, -float(probability @ cpu_s)],
        bounds=[(0.0, 1.0)] * len(items) + [(0.0, None)],
    )
    assert most_qps(scenario) == pytest.approx(1.0 / least.fun, rel=2e-3)
    assert most_qps(scenario) >= (1.0 - 1e-9) / least.fun
    assert most_qps(scenario, 0.01) > most_qps(scenario)
    for threshold in (100, 350, None):
        demands = service_demands(scenario, scenario.setting.replace(offload="threshold", threshold=threshold))
        assert min(demand.saturation_qps for demand in demands) <= most_qps(scenario) * (1.0 + 1e-9)


def test_offered_load_is_that_of_even_parts() -> None:
    scenario = with_options(load_scenario("wnd"), qps=1.0, split_rule="even", batch_size=30)
    (stage,) = scenario.stages
    assert stage.cpu is not None
    rule, (sizes, probability) = stage_rule(scenario, 0, scenario.setting), size_probabilities(scenario.workload.sizes)
    mean_s = 0.0
    for n, share in zip(sizes.tolist(), probability.tolist(), strict=True):
        parts = cut(rule, n, False)
        requests = np.array([request_items(parts, request) for request in range(parts.requests)])
        assert requests.sum() == n
        mean_s += share * float(busy_seconds(stage, stage.cpu, requests).sum())
    cpu, _ = service_demands(scenario, scenario.setting)
    assert cpu.seconds_per_query == pytest.approx(mean_s, rel=1e-12)
    full, _ = service_demands(scenario, scenario.setting.replace(split="full"))
    assert full.seconds_per_query != pytest.approx(mean_s, rel=1e-3)  # a profile is no straight line


def test_ladders_alone_change_no_capacity() -> None:
    plain, laddered = load_scenario(day_scenario()), day_scenario(control={"orders": ["fcfs", "small-first"]})
    laddered["control"]["admits_ms"] = [50, None]
    first, second = (find_capacity(scenario, queries=3000) for scenario in (plain, laddered))
    assert (first.qps, first.qps_ci, first.streams_sha256) == (second.qps, second.qps_ci, second.streams_sha256)
    assert second.further == {"order": "fcfs", "admit_ms": None}


def test_the_command_takes_further_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(json.dumps(day_scenario()), encoding="utf-8")
    options = ["--offload", "predicted", "--order", "small-first", "--split-rule", "even", "--admit", "50"]
    with pytest.raises(SystemExit) as ended:
        main(["capacity", str(file), "--queries", "4000", *options, "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    given = {"offload": "predicted", "order": "small-first", "split": "even", "admit_ms": 50.0}
    assert {name: found[name] for name in given} == given
    assert 0.0 <= found["shed_rate"] <= 0.01
    assert set(found["offered_load"]) == {"cpu", "accelerator"}


def predicted_map(folder: Path) -> Sweep:
    scenario: Scenario = load_scenario(day_scenario(control={"batch_sizes": [16, 200], "thresholds": [300, None]}))
    chosen = with_options(scenario, offload="predicted", admit=50.0)
    return Sweep(chosen, "toy", folder, percentile=95.0, queries=1500, precision=0.05, seed=0, engine="compiled")


def test_a_map_under_predicted_offloading_has_no_thresholds(tmp_path: Path) -> None:
    whole = predicted_map(tmp_path)
    whole.run()
    with whole.csv.open(encoding="utf-8") as file:
        next(file)
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*COLUMNS, "shed_rate")
    assert [(row["batch_size"], row["threshold"]) for row in rows] == [("16", "null"), ("200", "null")]
    assert predicted_map(tmp_path).settings == 2
    found = whole.to_json()
    assert found["offload"] == "predicted"
    assert found["best"]["shed_rate"] <= 0.01
    assert whole.pictures[0].read_bytes().startswith(b"\x89PNG")
