"""Replications that start in steady state: what is already there when they begin.

Close to saturation a queue forgets its start only after some (1 - load)^-2 queries: tens of thousands at a load of
0.995, where a loose target puts the capacity; and an accelerator that one query in fifty reaches takes fifty times as
many again. A replication that starts empty sees too little waiting there. It starts instead with a backlog drawn from
the stationary law of each pool taken as one server as fast as all of its servers together: the geometric sum of
residual works of Pollaczek and Khinchine (Asmussen, Applied Probability and Queues, chapter VIII.5). The pools of a
stage see independent Poisson streams, so that the law is exact for one server, and for many ever better as the load
rises; at lower loads, where it is rough, a short warm-up forgets it. In a pipeline, whose stages are not independent,
the busiest pool alone has a backlog.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.offered_load import ServiceDemand
from deeprec_env.simulation.rates import PlannedRun
from deeprec_env.workload.stream import QueryStream, Traffic

_STREAM = 4  # child of an episode's seed that the backlog is drawn from; the query stream has those before
_SAMPLE = 20_000  # queries whose works stand for all
_DRAINED = 0.1  # share of a replication's time in which a pool so loaded that its backlog matters may catch up


class PoolSample:
    """Works that queries bring to a pool: the items and the server-seconds of those that visit it, in a sample."""

    def __init__(self, planned: PlannedRun, demand: ServiceDemand) -> None:
        self.demand = demand
        seconds, self.rest_s = planned.pool_seconds(demand)
        visits = planned.visits(demand)
        self.items: Ints = planned.unit.items[visits]
        self.seconds: Floats = seconds[visits]
        self._total_s = np.cumsum(self.seconds)

    def residuals(self, which: Floats, share: Floats) -> Floats:
        """Rest of the work of queries in progress: a uniform share of one drawn in proportion to its work."""
        chosen = np.searchsorted(self._total_s, which * self._total_s[-1], side="right")
        return np.asarray(share * self.seconds[np.minimum(chosen, len(self.seconds) - 1)])


def sample_pools(
    scenario: Scenario, demands: Sequence[ServiceDemand], seed: np.random.SeedSequence
) -> list[PoolSample]:
    """Samples of the pools that any query visits."""
    planned = PlannedRun(scenario, QueryStream(scenario.workload, seed).draw(_SAMPLE))
    return [PoolSample(planned, demand) for demand in demands if planned.visits(demand).any()]


class SteadyRun:
    """A replication of `queries` queries behind backlogs as a long past would have left them, at any rate.

    `pools` are those with a backlog; their loads are below 1 at `highest_qps`, the highest rate that the run is meant
    for (the backlog grows no more after it). More is waiting at a higher rate, so that on one FCFS stage latencies
    still rise with the rate. A backlog is cut at what keeps its pool's queries above `longest_s`, the longest latency
    of interest, all through the replication.
    """

    def __init__(
        self,
        scenario: Scenario,
        pools: Sequence[PoolSample],
        seed: np.random.SeedSequence,
        queries: int,
        *,
        highest_qps: float,
        longest_s: float,
    ) -> None:
        child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _STREAM))
        waiting = [
            _waiting(pool, np.random.default_rng(pool_seed), queries, highest_qps, longest_s)
            for pool, pool_seed in zip(pools, child.spawn(len(pools)), strict=True)
        ]
        from_qps, items = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
        # What waits at the highest rates alone comes first: what does not wait at a rate is then always a first part.
        order = np.argsort(-from_qps, kind="stable")
        self._from_qps = from_qps[order]
        main = QueryStream(scenario.workload, seed).draw(queries)
        self._main_s, self._queries = main.arrival_s, queries
        unit = Traffic(
            np.concatenate([np.zeros(len(items)), main.arrival_s]),
            np.concatenate([items[order], main.items]),
            main.noise_key,
            slow_key=main.slow_key,
        )
        self.planned = PlannedRun(scenario, unit)
        self._begin_s = self.planned.serial_s(len(items))

    def __len__(self) -> int:
        return len(self.planned)

    def arrival_s(self, qps: float) -> Floats:
        """Arrival times at a rate: of what does not wait there, long before the beginning; of the backlog, at it."""
        waits = self._from_qps <= qps
        return np.concatenate([np.where(waits, self._begin_s, 0.0), self._begin_s + self._main_s / qps])

    def latency_s(self, qps: float, engine: str = "compiled") -> Floats:
        """Latencies of the `queries` queries, in seconds, drained."""
        return self.planned.latency_s(self.arrival_s(qps), engine)[-self._queries :]

    def visits(self, demand: ServiceDemand) -> NDArray[np.bool_]:
        """Which of the `queries` queries bring work to a pool."""
        return self.planned.visits(demand)[-self._queries :]


def _waiting(
    pool: PoolSample, rng: np.random.Generator, queries: int, highest_qps: float, longest_s: float
) -> tuple[Floats, Ints]:
    """The queries that wait for a pool: the rate from which on each does, and its items."""
    demand = pool.demand
    log_level = math.log(1.0 - rng.random())  # of a uniform number in (0, 1]
    # The geometric sum has at least k terms with probability load^k.
    most = math.floor(log_level / math.log(demand.load(highest_qps)))
    if most == 0:
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    which, share = rng.random((most, 2)).T  # by row: the first terms are the same whatever the highest rate
    longest_s = 2.0 * longest_s + _DRAINED * queries / demand.saturation_qps
    # Beside what keeps a newcomer waiting, each of the other servers is busy with the rest of a request.
    backlog_s = np.minimum(np.cumsum(pool.residuals(which, share)), demand.servers * longest_s)
    backlog_s += (demand.servers - 1) * pool.rest_s
    chosen = rng.integers(len(pool.items), size=math.ceil(backlog_s[-1] / pool.seconds.mean()))
    while pool.seconds[chosen].sum() < backlog_s[-1]:
        chosen = np.concatenate([chosen, rng.integers(len(pool.items), size=len(chosen))])
    before_s = np.cumsum(pool.seconds[chosen]) - pool.seconds[chosen]
    chosen, before_s = chosen[before_s < backlog_s[-1]], before_s[before_s < backlog_s[-1]]
    terms = np.searchsorted(backlog_s, before_s, side="right") + 1  # terms that it takes to reach that far
    return np.exp(log_level / terms) * demand.saturation_qps, pool.items[chosen]
