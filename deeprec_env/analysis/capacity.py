"""Capacity (latency-bounded QPS) of fixed settings: a bisection over stationary Poisson rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario, Threshold
from deeprec_env.simulation.load import pool_work
from deeprec_env.simulation.simulate import SCHEMA_VERSION, FromScenario, devices, run, versions, with_options
from deeprec_env.simulation.summary import warmup_queries
from deeprec_env.workload.stream import QueryStream, episode_seed

QUERIES = 10_000
PRECISION = 0.01

_LOWEST = 0.01  # of the analytic bound: as good as an empty system
_HIGHEST = 64.0  # times the analytic bound, where the p95-only search gives up


@dataclass(frozen=True)
class Probe:
    """p95 and p99 in seconds at one rate."""

    p95_s: float
    p99_s: float

    @classmethod
    def of(cls, latency_s: Floats) -> Probe:
        """Of the counted ones of a drained run's latencies, in order of arrival."""
        counted = latency_s[warmup_queries(len(latency_s)) :]
        p95_s, p99_s = np.percentile(counted, (95, 99)).tolist()
        return cls(p95_s, p99_s)


@dataclass(frozen=True)
class Capacity:
    """The highest rate that meets the rule, within the bisection's precision below.

    `limited_by`: the label of a pool whose offered load reaches 1, "sla" (p95), "p99", or "infeasible" with qps 0.
    `p95_only_qps` is the highest rate by p95 alone, blind to overload and to p99. `streams_sha256` is that of the
    traffic at one query a second, which every probe compresses.
    """

    qps: float
    limited_by: str
    p95_only_qps: float | None
    queries_used: int
    streams_sha256: str
    devices: dict[str, list[str]]
    batch_size: int | None = None
    threshold: Threshold = None
    offered_load: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The contract's keys. `qps_ci` is null: a plain bisection has no interval."""
        return {
            "schema_version": SCHEMA_VERSION,
            "batch_size": self.batch_size,
            "threshold": self.threshold,
            "qps": self.qps,
            "qps_ci": None,
            "limited_by": self.limited_by,
            "p95_only_qps": self.p95_only_qps,
            "offered_load": self.offered_load,
            "queries_used": self.queries_used,
            "devices": self.devices,
            "streams_sha256": self.streams_sha256,
            "versions": versions(),
        }


class RateSearch:
    """Largest rates under the rules of a scenario, for whatever `probe` runs at a rate.

    With common random numbers p95 never falls as the rate rises on a single FCFS stage, so that bisection is exact;
    elsewhere it tolerates dips by trusting the first failure it meets. Probes are remembered.
    """

    def __init__(self, scenario: Scenario, probe: Callable[[float], Probe], precision: float = PRECISION) -> None:
        self._scenario, self._probe, self._precision = scenario, probe, precision
        self._known: dict[float, Probe] = {}

    def probe(self, qps: float) -> Probe:
        """p95 and p99 at a rate."""
        if qps not in self._known:
            self._known[qps] = self._probe(qps)
        return self._known[qps]

    def meets_p95(self, qps: float) -> bool:
        """Rule (b): p95 within the target."""
        return self.probe(qps).p95_s <= self._scenario.sla_s

    def meets_tail(self, qps: float) -> bool:
        """Rules (b) and (c): p99 within its multiple of the target too."""
        factor = self._scenario.p99_factor
        return self.meets_p95(qps) and (factor is None or self.probe(qps).p99_s <= factor * self._scenario.sla_s)

    def largest(self, meets: Callable[[float], bool], low: float, high: float) -> float:
        """Largest rate found between one that meets (`low`) and one that does not (`high`), to the precision."""
        while high - low > self._precision * low:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if meets(middle) else (low, middle)
        return low

    def largest_unbounded(self, meets: Callable[[float], bool], low: float, limit: float) -> float:
        """As `largest`, with the failing rate found by doubling up to `limit` (returned if all meet)."""
        high = 2.0 * low
        while meets(high):
            if high >= limit:
                return high
            low, high = high, 2.0 * high
        return self.largest(meets, low, high)


def find_capacity(
    scenario: str | Path | Mapping[str, Any] | Scenario,
    *,
    batch_size: int | None = None,
    threshold: Threshold | FromScenario = "scenario",
    queries: int = QUERIES,
    seed: int = 0,
    split: str = "validation",
    engine: str = "compiled",
    precision: float = PRECISION,
    at_least: float = 0.0,
    p95_only: bool = True,
) -> Capacity:
    """The highest stationary Poisson rate that fixed settings carry, by bisection under common random numbers.

    The rule: every pool's offered load below 1, p95 within the target, p99 within `p99_factor` times the target; with
    `p99_factor` null p95 alone (the paper's rule). Every probe runs `queries` queries of the same seed. With `at_least`
    the search ends at once, with qps 0, if that rate is out of reach; without `p95_only` it spares itself the search by
    p95 alone (None then). Raises `InputError` for bad input.
    """
    if queries < warmup_queries(queries) + 100:
        raise InputError("queries", queries, "must be at least 1100: the first 1000 are warm-up")
    if not 0.0 < precision < 1.0:
        raise InputError("precision", precision, "must be between 0 and 1")
    chosen = with_options(load_scenario(scenario), qps=1.0, batch_size=batch_size, threshold=threshold)
    size, limit = chosen.control.batch_size, chosen.control.threshold
    works = pool_work(chosen, size, limit)
    bottleneck = min(works, key=lambda work: work.largest_qps)
    bound = bottleneck.largest_qps
    runs = 0

    def probe(qps: float) -> Probe:
        nonlocal runs
        runs += 1
        at_rate = with_options(chosen, qps=qps)
        traffic = QueryStream(at_rate.workload, episode_seed(seed, split)).draw(queries)
        return Probe.of(run(at_rate, traffic, engine=engine).latency_s)

    def result(qps: float, limited_by: str, p95_only_qps: float | None) -> Capacity:
        loads = {work.label: work.load(qps) for work in works}
        traffic = QueryStream(chosen.workload, episode_seed(seed, split)).draw(queries)
        return Capacity(
            qps, limited_by, p95_only_qps, runs * queries, traffic.sha256(), devices(chosen), size, limit, loads
        )

    def by_p95_alone(low: float) -> float | None:
        return search.largest_unbounded(search.meets_p95, low, _HIGHEST * bound) if p95_only else None

    search = RateSearch(chosen, probe, precision)
    if chosen.p99_factor is None:
        start = max(at_least, _LOWEST * bound)
        if not search.meets_p95(start):
            return result(0.0, "sla" if at_least else "infeasible", 0.0)
        paper = search.largest_unbounded(search.meets_p95, start, _HIGHEST * bound)
        return result(paper, "sla", paper)
    if at_least >= bound:
        return result(0.0, bottleneck.label, None)
    start = max(at_least, _LOWEST * bound)
    if not search.meets_tail(start):
        limited_by = _failure(search, start) if at_least else "infeasible"
        return result(0.0, limited_by, by_p95_alone(start) if search.meets_p95(start) else 0.0)
    stable = (1.0 - 0.5 * precision) * bound
    if start >= stable or search.meets_tail(stable):
        qps, limited_by = max(start, stable), bottleneck.label
    else:
        qps = search.largest(search.meets_tail, start, stable)
        limited_by = _failure(search, min(rate for rate in search._known if rate > qps and not search.meets_tail(rate)))
    return result(qps, limited_by, qps if limited_by == "sla" else by_p95_alone(qps))


def _failure(search: RateSearch, qps: float) -> str:
    return "p99" if search.meets_p95(qps) else "sla"
