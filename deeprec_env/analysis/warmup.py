"""Replications that start empty, and whose first queries are a warm-up.

The law of the backlog that a long past leaves is known for Poisson arrivals at queues in the order of entry (see
`steady`). For others only the time it takes to forget an empty start is: in heavy traffic the work in a queue is a
reflected Brownian motion, whose drift a query is -(1 - load) and whose variance a query is v = dispersion of the
arrivals + squared CV of a query's work, in mean works. It forgets after n queries as exp(-n (1 - load)^2 / (2 v))
(Abate and Whitt, Transient behavior of regulated Brownian motion, 1987). At n = 4 v / (1 - load)^2 its mean is 1 % and
its 5 % tail 5 % too low, which moves the rate where that tail is 5 % by less than 2 % of 1 - load; and the replication,
which is as long again, goes on from there.
The work that is left is the same in every order of service. Where queries are shed it is no more than what takes as
long as the limit, b mean works: motion between two barriers forgets as exp(-n (pi^2 v / b^2 + (1 - load)^2 / v) / 2).
Slow phases add to v what the factor varies by in the long run: with p and q the shares of slow and normal time and t
the time in which the phases forget, 1 / t = 1 / mean slow + 1 / mean normal, 2 t p q (factor - 1)^2 of the mean factor
squared in each mean gap between queries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.kernel_choice import decided_on_entry
from deeprec_env.simulation.offered_load import ServiceDemand
from deeprec_env.simulation.rates import PlannedRun
from deeprec_env.workload.arrivals import Poisson, Stationary
from deeprec_env.workload.stream import QueryStream

LEAST = 1200
"""Queries of the shortest warm-up; of more than `_PER_SERVER` a server where that is more."""

MOST = 200_000
"""Queries of the longest warm-up: where v is about 1 it does up to a load of 0.995."""

_PER_SERVER = 20
_FORGOTTEN = 4.0
_SAMPLE = 20_000  # queries whose works stand for all
_TIE_S = 1e-9


class Warmup:
    """How many queries an empty node takes at a rate to forget that it was empty.

    None for Poisson arrivals at a node that is decided on entry, without slow phases: `SteadyRun` knows what is there.
    Without `demands`, where mean work does not say how a pool is loaded, the least.
    """

    def __init__(self, scenario: Scenario, demands: Sequence[ServiceDemand], seed: np.random.SeedSequence) -> None:
        self._arrivals, self._demands = scenario.workload.arrivals, demands
        self.least = 0
        admit_ms = scenario.setting.admit_ms
        self._admit_s = None if admit_ms is None else admit_ms * 1e-3
        slowness = [pool.slowness for stage in scenario.stages for pool in stage.pools().values()]
        if not isinstance(self._arrivals, Poisson) or not decided_on_entry(scenario) or any(slowness):
            self.least = max(LEAST, _PER_SERVER * most_servers(scenario))
        if self.least and demands:
            unordered = scenario.with_setting(scenario.setting.replace(order="fcfs", admit_ms=None))
            planned = PlannedRun(unordered, QueryStream(scenario.workload, seed).draw(_SAMPLE))
            self._spreads = [_squared_cv(planned.pool_seconds(demand)[0]) for demand in demands]
            self._slow_s = [_slow_s(scenario, demand) for demand in demands]

    def queries(self, qps: float) -> int:
        """Queries to leave out at a rate: what the pools need that keep up with it, but no more than `MOST`."""
        if self.least == 0 or not self._demands:
            return self.least
        at_rate = self._arrivals.at_rate(qps)
        assert isinstance(at_rate, Stationary)
        needed = [
            self._forgets(demand, qps, at_rate.dispersion + spread + qps * slow_s)
            for demand, spread, slow_s in zip(self._demands, self._spreads, self._slow_s, strict=True)
            if demand.load(qps) > 0.0 and (demand.load(qps) < 1.0 or self._admit_s is not None)
        ]
        return max(self.least, math.ceil(min(MOST, max(needed, default=0.0))))

    def _forgets(self, demand: ServiceDemand, qps: float, variance: float) -> float:
        """Queries after which a pool has forgotten, of that variance a query."""
        if self._admit_s is None:
            return _FORGOTTEN * variance / (1.0 - demand.load(qps)) ** 2
        most = self._admit_s * demand.saturation_qps
        return _FORGOTTEN / ((1.0 - demand.load(qps)) ** 2 / variance + math.pi**2 * variance / most**2)


def most_servers(scenario: Scenario) -> int:
    """Servers of the largest pool."""
    return max(pool.servers for stage in scenario.stages for pool in stage.pools().values())


class WarmRun:
    """A replication of `queries` queries after a warm-up that starts empty, at any rate: a `SteadyRun`'s stand-in.

    At every rate the arrivals come from the same seed, the other queries' properties are the same.
    """

    def __init__(self, scenario: Scenario, seed: np.random.SeedSequence, queries: int, warmup: int) -> None:
        self._scenario, self._seed, self._queries = scenario, seed, queries
        self.planned = PlannedRun(scenario, QueryStream(scenario.workload, seed).draw(warmup + queries))

    def __len__(self) -> int:
        return len(self.planned)

    def arrival_s(self, qps: float) -> Floats:
        """Arrival times at a rate, (warm-up and queries,)."""
        workload = self._scenario.workload
        at_rate = workload.model_copy(update={"arrivals": workload.arrivals.at_rate(qps)})
        return QueryStream(at_rate, self._seed).draw_arrivals(len(self))

    def latency_s(self, qps: float, engine: str = "compiled") -> Floats:
        """Latencies of the `queries` queries, in seconds, drained; NaN of those that are shed.

        Where gaps and services are whole milliseconds many latencies equal the target, and the sums of floats that they
        are miss it by some 1e-12 s to either side. A nanosecond less, and they meet it.
        """
        return self.planned.latency_s(self.arrival_s(qps), engine)[-self._queries :] - _TIE_S

    def visits(self, demand: ServiceDemand) -> NDArray[np.bool_]:
        """Which of the `queries` queries bring work to a pool."""
        return self.planned.visits(demand)[-self._queries :]


def _slow_s(scenario: Scenario, demand: ServiceDemand) -> float:
    """What slow phases of a pool add to the variance in a second."""
    stage = next(stage for stage in scenario.stages if stage.name == demand.stage)
    slow = stage.pools()[demand.kind].slowness
    if slow is None:
        return 0.0
    forgets_s = slow.share * slow.mean_normal_s
    return 2.0 * forgets_s * slow.share * (1.0 - slow.share) * ((slow.factor - 1.0) / slow.mean_factor) ** 2


def _squared_cv(work_s: Floats) -> float:
    mean = float(work_s.mean())
    return float(work_s.var()) / (mean * mean) if mean > 0.0 else 0.0
