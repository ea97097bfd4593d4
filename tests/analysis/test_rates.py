from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.analysis.crossing import crossing
from deeprec_env.analysis.replications import Replications, Streams, TailRule
from deeprec_env.analysis.steady import SteadyRun, sample_pools
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.rates import PlannedRun
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed
from tests.conftest import day_scenario, queue

EXPONENTIAL = {"kind": "exponential", "mean_ms": 1000}


def pipeline() -> dict[str, Any]:
    """Two stages that overlap, with contention, overheads and an accelerator at the first."""
    node = day_scenario()["node"]
    crowded = {**node["cpu"], "contention": {"c": [0.7, 0.2, 0.4], "servers": 8}}
    first = {"name": "filter", "cpu": crowded, "accelerator": node["accelerator"], "keep": 60, "overhead_s": 1e-4}
    second = {"name": "rank", "cpu": {**node["cpu"], "servers": 3}, "transfer_s": 2e-3}
    data = day_scenario(pipeline=[first, second], control={"batch_size": 40, "threshold": 350})
    del data["node"]
    return data


@pytest.mark.parametrize("data", [day_scenario(), pipeline()], ids=["node", "pipeline"])
def test_a_planned_run_is_the_engines_run_at_any_rate(data: dict[str, Any]) -> None:
    scenario = with_options(load_scenario(data), qps=1.0)
    seed = episode_seed(3)
    planned = PlannedRun(scenario, QueryStream(scenario.workload, seed).draw(1500))
    for qps in (80.0, 700.0, 2500.0):
        at_rate = with_options(scenario, qps=qps)
        traffic = QueryStream(at_rate.workload, seed).draw(1500)
        for engine in ("compiled", "asyncio"):
            expected = run(at_rate, traffic, engine=engine).latency_s.tobytes()
            assert planned.latency_s(planned.unit.arrival_s / qps, engine).tobytes() == expected


@pytest.mark.parametrize("data", [day_scenario(), pipeline()], ids=["node", "pipeline"])
def test_a_steady_run_is_an_engines_run_behind_a_backlog(data: dict[str, Any]) -> None:
    scenario = with_options(load_scenario(data), qps=1.0, threshold=350)
    demands = service_demands(scenario, scenario.setting)
    qps = 0.97 * min(demand.saturation_qps for demand in demands)
    pools = sample_pools(scenario, demands, episode_seed(0))
    longest = max(
        (
            SteadyRun(scenario, pools, episode_seed(1, "train", e), 300, highest_qps=qps, longest_s=1.0)
            for e in range(9)
        ),
        key=len,
    )
    arrival_s = longest.arrival_s(qps)
    assert len(longest) > 300
    assert (np.diff(arrival_s) >= 0.0).all()
    records = run(scenario, Traffic(arrival_s, longest.planned.unit.items, longest.planned.unit.noise_key))
    assert records.latency_s[-300:].tobytes() == longest.latency_s(qps).tobytes()
    # At a low rate nothing waits: what was to be the backlog has left before the run begins.
    begin_s = longest.arrival_s(1e-3)[-300] - longest.planned.unit.arrival_s[-300] * 1e3
    early = longest.arrival_s(1e-3) < begin_s - 1e-6
    assert early.sum() == len(longest) - 300
    if len(scenario.stages) == 1:  # times of 3e5 s are good to 1e-10 s
        assert (records.latency_s[-300:] >= longest.latency_s(1e-3) - 1e-9).all()


@pytest.mark.parametrize(
    ("load", "servers", "mean_wait_s", "queries"),
    [(0.9, 1, 9.0, 60), (0.7, 4, 0.357212, 200), (0.9, 16, 0.369590, 1200)],
)
def test_short_replications_are_in_steady_state(load: float, servers: int, mean_wait_s: float, queries: int) -> None:
    """M/M/1 and M/M/c, mean waits of the reference table. One server needs no warm-up; many a little at such loads."""
    scenario = with_options(queue(servers, EXPONENTIAL, 1.0), qps=1.0, batch_size=1)
    (demand,) = demands = service_demands(scenario, Setting(1, None))
    qps = load * demand.saturation_qps
    pools = sample_pools(scenario, demands, episode_seed(0))
    runs = [
        SteadyRun(scenario, pools, episode_seed(2, "train", e), queries, highest_qps=qps, longest_s=1e3)
        for e in range(1000)
    ]
    means = np.array([run.latency_s(qps)[queries // 5 :].mean() for run in runs])
    error = means.std(ddof=1) / math.sqrt(len(means))
    bias = 0.02 if servers == 1 else 0.06  # for many servers the start is an approximation
    assert means.mean() == pytest.approx(1.0 + mean_wait_s, abs=3.5 * error + bias * mean_wait_s)
    empty = [PlannedRun(scenario, r.planned.unit).latency_s(np.arange(len(r)) * 1e3) for r in runs[:5]]
    assert np.mean(np.concatenate(empty)) == pytest.approx(1.0, rel=0.2)


def black_box() -> tuple[Scenario, list[TailRule]]:
    return with_options(load_scenario(day_scenario()), qps=1.0, threshold=500), [TailRule("sla", 0.06, 0.05)]


def test_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, rules = black_box()
    demands = service_demands(scenario, scenario.setting)
    shares = []
    for threads in (1, 3):
        monkeypatch.setattr("deeprec_env.analysis.replications.usable_cores", lambda threads=threads: threads)
        streams = Streams(0, "validation", 0, 12, 400)
        found = Replications(scenario, demands, rules, streams, highest_qps=0.98 * demands[0].saturation_qps)
        shares.append(found.shares(0.95 * demands[0].saturation_qps).tobytes())
        assert found.queries_used == sum(len(run) for run in found._runs)
    assert shares[0] == shares[1]


def test_shares_rise_with_the_rate_and_overloaded_pools_are_late() -> None:
    scenario, rules = black_box()
    demands = service_demands(scenario, scenario.setting)
    cpu, accelerator = demands
    highest = 0.98 * cpu.saturation_qps
    found = Replications(scenario, demands, rules, Streams(0, "validation", 0, 20, 500), highest_qps=highest)
    rates = np.linspace(0.5, 0.98, 5) * cpu.saturation_qps
    shares = np.array([found.shares(qps)[:, 0] for qps in rates])
    assert (np.diff(shares, axis=0) >= 0.0).all()
    assert found.means(1.01 * max(cpu.saturation_qps, accelerator.saturation_qps))[0] == 1.0
    assert found.excess(float(rates[0]), found.allowed()) <= found.excess(float(rates[-1]), found.allowed())


@pytest.mark.parametrize("root", [0.0103, 0.37, 0.998])
def test_crossings_are_bracketed(root: float) -> None:
    calls = []

    def steep(x: float) -> float:
        calls.append(x)
        return math.floor(1e4 * (math.exp(5 * x) - math.exp(5 * root))) / 1e4  # rises by steps

    low, high = crossing(steep, 0.0, 1.0, 1e-4)
    assert high - low <= 1e-4 * (1 + 1e-9)
    assert steep(low) <= 0.0 < steep(high)
    assert len(calls) < 30
