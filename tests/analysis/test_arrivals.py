"""CapacityEstimate under arrivals other than Poisson, against exact answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import pdtr
from scipy.stats import poisson

from deeprec_env import InputError, Scenario, find_capacity, load_scenario, simulate
from deeprec_env.analysis.capacity import CapacityEstimate
from deeprec_env.analysis.warmup import WarmRun
from deeprec_env.cli.main import main
from deeprec_env.scenario.parts import ARRIVALS
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.workload.stream import QueryStream, episode_seed
from tests.conftest import day_scenario, queue

QUEUES = Path(__file__).parents[1] / "queues"
EXPONENTIAL = {"kind": "exponential", "mean_ms": 1000}


def arriving(scenario: Scenario, **process: Any) -> Scenario:
    return scenario.with_arrivals({"qps": 1.0, **process})


def holds(found: CapacityEstimate, exact: float) -> None:
    """The interval covers, and is narrow enough to see an error of 3 %."""
    assert found.qps_ci is not None
    low, high = found.qps_ci
    assert low <= exact <= high
    assert high - low <= 0.04 * exact
    assert max(exact - low, high - exact) < 0.03 * exact


def late_on_the_lattice(qps: float, servers: int, service_ms: int, target_ms: int, states: int = 500) -> float:
    """Share above the target with whole-millisecond gaps of a Poisson law and constant service.

    Equal services make FCFS take turns: each server gets every `servers`-th query, whose gaps are Poisson again. Its
    wait is Lindley's recursion W' = max(0, W + S - A), a Markov chain on whole milliseconds.
    """
    mean_ms = servers * 1000.0 / qps
    wait = np.arange(states)
    step = np.zeros((states, states))
    for now in wait:
        gaps = now + service_ms - wait
        step[now] = np.where(gaps >= 0, poisson.pmf(gaps, mean_ms), 0.0)
        step[now, 0] = 1.0 - pdtr(now + service_ms - 1, mean_ms)
        step[now, -1] += 1.0 - step[now].sum()
    balance = step.T - np.eye(states)
    balance[-1] = 1.0
    law = np.linalg.solve(balance, np.eye(states)[-1])
    return float(law[target_ms - service_ms + 1 :].sum())


@pytest.mark.parametrize(("servers", "service_ms", "target_ms"), [(1, 20, 40), (8, 20, 30), (32, 25, 35)])
def test_whole_millisecond_gaps(servers: int, service_ms: int, target_ms: int) -> None:
    full = servers * 1e3 / service_ms
    exact = brentq(
        lambda qps: late_on_the_lattice(qps, servers, service_ms, target_ms) - 0.05, 0.5 * full, 0.97 * full, xtol=0.05
    )
    scenario = load_scenario(QUEUES / f"poisson-ms-{servers}.yaml")
    found = find_capacity(scenario, arrivals="scenario", confirm=False)
    assert found.arrivals == "poisson-ms"
    holds(found, exact)


@pytest.mark.parametrize(("cv", "target"), [(0.5, 6.0), (0.5, 40.0), (1.5, 25.0)])
def test_gamma_gaps_and_exponential_services(cv: float, target: float) -> None:
    """GI/M/1: the response is exponential with rate 1 - s, s = (k l / (k l + 1 - s))^k, k = 1 / cv^2 (Erlang if whole).

    p95 = ln 20 / (1 - s) is the target at s = 1 - ln 20 / target, which gives the rate l.
    """
    shape, drain = 1.0 / cv**2, math.log(20.0) / target
    root = (1.0 - drain) ** (1.0 / shape)
    exact = root * drain / (shape * (1.0 - root))
    scenario = queue(1, EXPONENTIAL, 1.0, sla_ms=target * 1e3, p99_factor=None)
    holds(
        find_capacity(arriving(scenario, kind="gamma", cv=cv), arrivals="scenario", confirm=False, precision=0.015),
        exact,
    )


def late_in_bursts(qps: float, process: Any, target_s: float, states: int = 600) -> float:
    """MMPP/M/1, service rate 1: the chain of (queue, phase); an arrival behind n others leaves after n + 1 services."""
    at_rate = process.at_rate(qps)
    rates = np.array([at_rate.calm_qps, at_rate.burst_factor * at_rate.calm_qps])
    leave = np.array([1.0 / process.calm_s, 1.0 / process.burst_s])
    moves = np.zeros((2 * states, 2 * states))
    for phase in (0, 1):
        here = 2 * np.arange(states) + phase
        moves[here, here + 1 - 2 * phase] = leave[phase]
        moves[here[:-1], here[1:]] = rates[phase]
        moves[here[1:], here[:-1]] = 1.0
    np.fill_diagonal(moves, -moves.sum(axis=1))
    balance = moves.T.copy()
    balance[-1] = 1.0
    law = np.linalg.solve(balance, np.eye(2 * states)[-1]).reshape(states, 2)
    return float((law @ rates / (law.sum(axis=0) @ rates)) @ pdtr(np.arange(states), target_s))


def test_bursts() -> None:
    process = {"kind": "mmpp", "burst_s": 20.0, "calm_s": 60.0, "burst_factor": 3.0}
    scenario = arriving(queue(1, EXPONENTIAL, 1.0, sla_ms=30_000, p99_factor=None), **process)
    arrivals = scenario.workload.arrivals
    exact = brentq(lambda qps: late_in_bursts(qps, arrivals, 30.0) - 0.05, 0.3, 0.9, xtol=1e-3)
    holds(find_capacity(scenario, arrivals="scenario", confirm=False, precision=0.015), exact)
    assert find_capacity(scenario, confirm=False, precision=0.03).qps > 1.1 * exact


@pytest.mark.parametrize(
    "process",
    [
        {"kind": "gamma", "cv": 2.0},
        {"kind": "poisson-ms"},
        {"kind": "mmpp", "burst_s": 0.2, "calm_s": 0.8},
    ],
    ids=lambda process: process["kind"],
)
def test_a_warm_run_is_an_engines_run_of_the_process_at_that_rate(process: dict[str, Any]) -> None:
    scenario = arriving(load_scenario(day_scenario()), **process)
    warm = WarmRun(scenario, episode_seed(3), 900, 300)
    before = None
    for qps in (80.0, 700.0, 2500.0):
        at_rate = with_options(scenario, qps=qps, arrivals="scenario")
        assert at_rate.workload.arrivals.mean_qps == qps
        traffic = QueryStream(at_rate.workload, episode_seed(3)).draw(1200)
        expected = run(at_rate, traffic).latency_s[300:]
        assert warm.latency_s(qps) == pytest.approx(expected, abs=2e-9)
        assert (before is None) or (traffic.arrival_s <= before).all()  # the same traffic, faster
        before = traffic.arrival_s


@pytest.mark.parametrize(
    ("process", "window_s"),
    [
        ({"kind": "gamma", "cv": 2.0}, 20.0),
        ({"kind": "poisson-ms"}, 5.0),
        ({"kind": "mmpp", "burst_s": 0.2, "calm_s": 0.8}, 50.0),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_the_dispersion_is_that_of_counts_in_a_long_time(process: dict[str, Any], window_s: float) -> None:
    scenario = arriving(load_scenario(day_scenario()), **process).with_arrivals(
        ARRIVALS.component(process["kind"]).model_validate({"qps": 50.0, **process})
    )
    times = QueryStream(scenario.workload, episode_seed(0)).draw_arrivals(1_000_000)
    counts = np.bincount((times / window_s).astype(np.int64))[:-1]
    error = 4.0 * math.sqrt(2.0 / len(counts))
    arrivals: Any = scenario.workload.arrivals
    assert counts.var() / counts.mean() == pytest.approx(arrivals.dispersion, rel=error + 0.03)


def test_poisson_of_the_scenario_is_poisson() -> None:
    scenario = queue(2, EXPONENTIAL, 7.0, sla_ms=5000)
    own = find_capacity(scenario, arrivals="scenario", queries=5000)
    assert own == find_capacity(scenario, queries=5000)


def test_engines_agree() -> None:
    scenario = arriving(load_scenario(day_scenario()), kind="mmpp", burst_s=0.1, calm_s=0.4)
    options: dict[str, Any] = {"arrivals": "scenario", "queries": 1200, "threshold": 400, "p95_only": False}
    compiled, reference = (
        find_capacity(scenario, engine=name, confirm=False, precision=0.3, **options)
        for name in ("compiled", "asyncio")
    )
    assert compiled == reference


def test_an_overloaded_accelerator_is_late_whatever_the_arrivals() -> None:
    data = day_scenario(p99_factor=None)
    data["node"]["accelerator"]["latency"] = {"kind": "constant", "ms": 500}
    scenario = arriving(load_scenario(data), kind="gamma", cv=0.5)
    found = find_capacity(scenario, arrivals="scenario", batch_size=128, threshold=700, queries=10_000)
    assert found.offered_load["accelerator"] > 1.0
    assert found.offered_load["cpu"] < 1.0
    full = find_capacity(
        scenario.replace(p99_factor=2.0), arrivals="scenario", batch_size=128, threshold=700, queries=10_000
    )
    assert (full.qps, full.limited_by) == (0.0, "infeasible")


@pytest.mark.parametrize("function", [find_capacity, lambda data, arrivals: simulate(data, qps=5.0, arrivals=arrivals)])
def test_what_is_not_stationary_is_refused(function: Any) -> None:
    allowed = "at a rate must be one of gamma, mmpp, poisson, poisson-ms"
    with pytest.raises(InputError, match=f"arrivals.kind: got 'diurnal'; is not stationary; {allowed}"):
        function(day_scenario(), arrivals="scenario")
    with pytest.raises(InputError, match="arrivals: got 'own'; must be one of poisson, scenario"):
        function(day_scenario(), arrivals="own")


def test_simulate_runs_the_scenarios_process_at_a_rate() -> None:
    scenario = arriving(queue(1, {"kind": "constant", "ms": 1}, 1.0), kind="poisson-ms")
    result = simulate(scenario, qps=50.0, arrivals="scenario", queries=3000)
    assert result.records is not None
    milliseconds = result.records.arrival_s * 1e3
    assert milliseconds == pytest.approx(np.rint(milliseconds), abs=1e-6)
    assert result.usage.qps_achieved == pytest.approx(50.0, rel=0.02)


def test_the_commands_take_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(QUEUES / "poisson-ms-1.yaml")

    def call(*arguments: str) -> dict[str, Any]:
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "--arrivals", "scenario", "--json"])
        assert not stopped.value.code
        parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return parsed

    found = call("capacity", path, "--queries", "20000")
    assert found["arrivals"] == "poisson-ms"
    assert found["qps"] == pytest.approx(46.87, rel=0.03)
    tuned = call("tune", path, "--method", "static", "--queries", "1200")
    assert tuned["arrivals"] == "poisson-ms"
    assert call("simulate", path, "--qps", "45", "--queries", "3000")["utilisation"]["cpu"] > 0.85
    with pytest.raises(SystemExit) as stopped:
        main(["tune", path, "--method", "deeprecsched-repository", "--arrivals", "scenario"])
    assert stopped.value.code == 2
    assert "arrivals: got 'scenario'; must be poisson" in capsys.readouterr().err
