"""A plain bisection over rates, for whatever runs at a rate: a policy that adapts, say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.summary import warmup_queries

PRECISION = 0.01


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
