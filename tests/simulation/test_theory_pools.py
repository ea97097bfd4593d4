"""What holds for any system of pools: Little's law, busy servers, the empty system, the largest stable rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import Scenario, load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import Traffic
from tests.simulation.closed_forms import list_makespan
from tests.simulation.replications import REPLICATIONS, Law, Sample, assert_laws, interval, traffic

both_engines = pytest.mark.parametrize("engine", ENGINES)


def affine(servers: int, base_ms: float, per_item_ms: float, cv: float = 0.0, **more: Any) -> dict[str, Any]:
    latency = {"kind": "affine", "base_ms": base_ms, "per_item_ms": per_item_ms, "cv": cv}
    return {"servers": servers, "latency": latency, **more}


@dataclass(frozen=True)
class System:
    """Stages, settings, and by hand the mean server-seconds of a query of n items at every pool."""

    stages: list[dict[str, Any]]
    work_s: dict[tuple[int, str], Callable[[int], float]]
    sizes: dict[str, Any]
    batch_size: int = 25
    threshold: int | None = None

    def at(self, qps: float) -> Scenario:
        return load_scenario(
            {
                "sla_ms": 1e9,
                "workload": {"arrivals": {"kind": "poisson", "qps": qps}, "sizes": self.sizes},
                "pipeline": [{"name": f"s{position}", **stage} for position, stage in enumerate(self.stages)],
                "control": {"batch_size": self.batch_size, "threshold": self.threshold},
            }
        )

    def mean_work_s(self, stage: int, kind: str) -> float:
        items, probability = self.at(1.0).workload.sizes.probabilities()
        return float(probability @ np.array([self.work_s[stage, kind](n) for n in items.tolist()]))

    def busiest(self) -> tuple[tuple[int, str], float]:
        """The pool that bounds the rate, and the largest stable rate: min over pools of servers / (work per query)."""
        rates = {
            (stage, kind): self.stages[stage][kind]["servers"] / self.mean_work_s(stage, kind)
            for stage, kind in self.work_s
        }
        return min(rates.items(), key=lambda item: item[1])


PRODUCTION = {"kind": "production"}
SYSTEMS = {
    "one core": System(
        [{"cpu": {"servers": 1, "latency": {"kind": "exponential", "mean_ms": 10}}}],
        {(0, "cpu"): lambda n: 0.010},
        {"kind": "fixed", "items": 1},
    ),
    # 100 items in batches of 32: four requests, so 4 x 1 + 100 x 0.1 ms.
    "split": System(
        [{"cpu": affine(5, 1.0, 0.1)}], {(0, "cpu"): lambda n: 0.014}, {"kind": "fixed", "items": 100}, batch_size=32
    ),
    "offload": System(
        [{"cpu": affine(4, 0.5, 0.05, 0.3), "accelerator": affine(1, 1.0, 0.01, 0.2)}],
        {
            (0, "cpu"): lambda n: math.ceil(n / 64) * 0.5e-3 + n * 0.05e-3 if n < 300 else 0.0,
            (0, "accelerator"): lambda n: 1e-3 + n * 0.01e-3 if n >= 300 else 0.0,
        },
        PRODUCTION,
        batch_size=64,
        threshold=300,
    ),
    # Saturated, all 4 cores are busy and the 2 accelerators too: slow-downs 0.8 + 0.4 and 1 + 0.25 + 0.25.
    "contention": System(
        [
            {
                "cpu": affine(4, 0.5, 0.05, 0.3, contention={"c": [0.8, 0.4, 0.0]}),
                "accelerator": affine(2, 1.0, 0.04, contention={"c": [1.0, 0.5, 1.0], "servers": 4}),
            }
        ],
        {
            (0, "cpu"): lambda n: 1.2 * (math.ceil(n / 64) * 0.5e-3 + n * 0.05e-3) if n < 300 else 0.0,
            (0, "accelerator"): lambda n: 1.5 * (1e-3 + n * 0.04e-3) if n >= 300 else 0.0,
        },
        PRODUCTION,
        batch_size=64,
        threshold=300,
    ),
    # The second stage gets at most 120 items, so it never offloads, and the third 50.
    "pipeline": System(
        [
            {"cpu": affine(3, 0.2, 0.01), "accelerator": affine(1, 1.0, 0.005), "keep": 120},
            {"cpu": affine(6, 0.5, 0.05, 0.5), "accelerator": affine(1, 1, 1), "keep": 50, "overhead_s": 2e-4},
            {"cpu": affine(2, 0.1, 0.02), "transfer_s": 0.02},
        ],
        {
            (0, "cpu"): lambda n: math.ceil(n / 64) * 0.2e-3 + n * 0.01e-3 if n < 300 else 0.0,
            (0, "accelerator"): lambda n: 1e-3 + n * 0.005e-3 if n >= 300 else 0.0,
            (1, "cpu"): lambda n: math.ceil(min(n, 120) / 64) * 0.7e-3 + min(n, 120) * 0.05e-3,
            (2, "cpu"): lambda n: 0.1e-3 + min(n, 50) * 0.02e-3,
        },
        PRODUCTION,
        batch_size=64,
        threshold=300,
    ),
}

every_system = pytest.mark.parametrize("name", SYSTEMS)
uncontended = pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "contention"])


@both_engines
@every_system
def test_little(engine: str, name: str) -> None:
    """L = l W: queries seen in the system at regular instants, over the rate times the mean latency."""
    qps = 0.75 * SYSTEMS[name].busiest()[1]
    scenario, queries = SYSTEMS[name].at(qps), {"asyncio": 3000, "compiled": 12_000}[engine]
    ratios = np.empty(REPLICATIONS)
    for seed in range(REPLICATIONS):
        node = make_engine(scenario, traffic(scenario, seed, queries), engine)
        seen = []
        for instant in np.linspace(0.1, 1.0, 500) * (queries / qps):
            node.advance(float(instant))
            seen.append(node.arrived - node.completed)
        node.drain()
        ratios[seed] = np.mean(seen) / (qps * Sample.of(node.records()).latency_s.mean())
        node.close()
    centre, half = interval(ratios)
    assert abs(centre - 1.0) <= half
    assert half < {"asyncio": 0.1, "compiled": 0.05}[engine]


def busy_servers(sample: Sample, stage: int, kind: str) -> float:
    """Mean busy servers of a pool between the first counted arrival and the last."""
    arrival_s = sample.records.arrival_s
    begin_s, end_s = arrival_s[-len(sample.latency_s)], arrival_s[-1]
    starts, ends = sample.records.stages[stage].of_pool(kind == "accelerator")
    inside = np.clip(ends, begin_s, end_s) - np.clip(starts, begin_s, end_s)
    return float(inside.sum() / (end_s - begin_s))


@both_engines
@uncontended
def test_mean_busy_servers_are_rate_times_service(engine: str, name: str) -> None:
    system = SYSTEMS[name]
    qps = 0.75 * system.busiest()[1]

    def law(stage: int, kind: str) -> Law:
        mean = qps * system.mean_work_s(stage, kind)
        return Law(lambda sample: busy_servers(sample, stage, kind), lambda slower: slower * mean)

    assert_laws(system.at(qps), engine, [law(stage, kind) for stage, kind in system.work_s], longer=1.25)


@every_system
def test_the_largest_stable_rate_is_the_least_over_pools(name: str) -> None:
    system = SYSTEMS[name]
    (stage, kind), qps = system.busiest()
    demands = service_demands(system.at(1.0), Setting(system.batch_size, system.threshold))
    least = min(demands, key=lambda demand: demand.saturation_qps)
    assert (least.stage, least.kind) == (f"s{stage}", kind)
    assert least.saturation_qps == pytest.approx(qps)
    for demand in demands:
        if (int(demand.stage[1:]), demand.kind) in system.work_s:
            assert demand.seconds_per_query == pytest.approx(system.mean_work_s(int(demand.stage[1:]), demand.kind))
        else:
            assert demand.seconds_per_query == 0.0


@both_engines
@every_system
def test_the_backlog_grows_just_above_the_largest_stable_rate_and_not_just_below(engine: str, name: str) -> None:
    """Above it by e, e / (1 + e) of the work that came to the busiest pool is left at the end; below, next to none."""
    system, queries = SYSTEMS[name], {"asyncio": 6_000, "compiled": 60_000}[engine]
    (stage, kind), saturation_qps = system.busiest()

    def left(load: float) -> tuple[float, float]:
        """Interval for the work left undone in the busiest pool when the last query arrives, as a share of the work."""
        scenario = system.at(load * saturation_qps)
        shares = np.empty(REPLICATIONS)
        for seed in range(REPLICATIONS):
            records = run(scenario, traffic(scenario, seed, queries), engine=engine)
            starts, ends = records.stages[stage].of_pool(kind == "accelerator")
            waiting = ends - np.maximum(starts, np.minimum(ends, records.arrival_s[-1]))
            shares[seed] = waiting.sum() / (ends - starts).sum()
        return interval(shares)

    excess = {"asyncio": 0.15, "compiled": 0.04}[engine]
    above, half = left(1.0 + excess)
    assert abs(above - excess / (1.0 + excess)) <= half
    assert half < 0.4 * above
    below, half = left(1.0 - excess)
    assert below + half < 0.2 * above


# The empty system: l -> 0


@both_engines
@given(
    items=st.integers(1, 2000),
    batch_size=st.integers(1, 300),
    cores=st.integers(1, 12),
    base_ms=st.floats(0.01, 10.0),
    per_item_ms=st.floats(0.0, 1.0),
    threshold=st.integers(1, 2000),
)
def test_an_empty_node_runs_the_list_schedule_or_the_accelerator_alone(
    engine: str, items: int, batch_size: int, cores: int, base_ms: float, per_item_ms: float, threshold: int
) -> None:
    """Exactly: the makespan of ceil(n / B) requests on c cores, or L(n)."""

    def latency_s(n: int) -> float:
        return (base_ms + per_item_ms * n) * 1e-3

    node = {"cpu": affine(cores, base_ms, per_item_ms), "accelerator": affine(1, base_ms, per_item_ms)}
    system = System([node], {}, {"kind": "fixed", "items": 1}, batch_size, threshold)
    records = run(system.at(1.0), Traffic(np.zeros(1), np.array([items]), 1), engine=engine)
    requests = [min(batch_size, items - begin) for begin in range(0, items, batch_size)]
    assert len(requests) == math.ceil(items / batch_size)
    expected_s = latency_s(items) if items >= threshold else list_makespan([latency_s(n) for n in requests], cores)
    assert records.latency_s.tolist() == [expected_s]


@both_engines
def test_at_a_vanishing_rate_every_query_meets_an_empty_node(engine: str) -> None:
    node = {"cpu": affine(3, 1.0, 0.02), "accelerator": affine(1, 2.0, 0.01)}
    scenario = System([node], {}, PRODUCTION, batch_size=40, threshold=300).at(1e-4)
    stream = traffic(scenario, 0, 500)

    def alone_s(n: int) -> float:
        if n >= 300:
            return 2e-3 + 1e-5 * n
        return list_makespan([1e-3 + 2e-5 * min(40, n - begin) for begin in range(0, n, 40)], 3)

    latency_s = run(scenario, stream, engine=engine).latency_s
    assert latency_s == pytest.approx([alone_s(n) for n in stream.items.tolist()], abs=1e-8)
