"""Fixed settings at many rates: what does not depend on the rate is drawn and planned once.

Sizes, splits, noise and service times of a query are the same at every rate, and stationary arrival times only scale
(rule 1). So a rate costs no more than the FCFS recursion, whose bytes are those of the engines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.compiled import compiled
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Pool, Scenario
from deeprec_env.simulation.kernels import serve
from deeprec_env.simulation.load import PoolWork
from deeprec_env.simulation.plan import plan_stages
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.stream import Traffic


class PlannedRun:
    """Queries under the settings of a scenario, planned once, to be run with whatever arrival times.

    `unit` is their traffic at one query a second. Latencies are those of `run(scenario, traffic, engine=engine)` with
    these arrival times, byte for byte.
    """

    def __init__(self, scenario: Scenario, unit: Traffic) -> None:
        self._scenario, self.unit = scenario, unit
        control = scenario.control
        self._plans = plan_stages(scenario.stages, unit.noise_key, 0, unit.items, control.batch_size, control.threshold)
        self._pools = [(_Servers(stage.cpu), _Servers(stage.accelerator or stage.cpu)) for stage in scenario.stages]

    def __len__(self) -> int:
        return len(self.unit.items)

    def latency_s(self, arrival_s: Floats, engine: str = "compiled") -> Floats:
        """Latency of every query, in seconds, drained; `arrival_s` ascends; all are (queries,)."""
        if engine == "compiled":
            return self._serve(arrival_s) - arrival_s
        return run(self._scenario, Traffic(arrival_s, self.unit.items, self.unit.noise_key), engine=engine).latency_s

    def serial_s(self, queries: int) -> float:
        """Seconds that the first queries take one request at a time: longer than anything that keeps a server busy."""
        total_s = 0.0
        for stage, plan in zip(self._scenario.stages, self._plans, strict=True):
            requests = int(plan.first[queries])
            slowest = max(pool.slowdown(busy) for pool in stage.pools().values() for busy in (0, 1, pool.servers))
            total_s += float(plan.base_s[:requests].sum()) * slowest + requests * stage.overhead_s + stage.transfer_s
        return total_s if queries else 0.0

    def visits(self, work: PoolWork) -> NDArray[np.bool_]:
        """Which queries bring work to a pool, (queries,)."""
        offloaded = self._plans[self._position(work)].offloaded
        return offloaded if work.kind == "accelerator" else ~offloaded

    def pool_seconds(self, work: PoolWork) -> tuple[Floats, float]:
        """Server-seconds of a pool, all its servers busy, by query, (queries,), and the mean rest of a request there.

        The rest is that of a request in progress at a random time, E[S^2] / (2 E[S]); 0 where there is no request.
        """
        position = self._position(work)
        stage, plan = self._scenario.stages[position], self._plans[position]
        pool = stage.pools()[work.kind]
        query_s, squares = _pool_seconds(
            self.visits(work), plan.first, plan.base_s, pool.slowdown(pool.servers), stage.overhead_s
        )
        total_s = float(query_s.sum())
        return query_s, squares / (2.0 * total_s) if total_s > 0.0 else 0.0

    def _position(self, work: PoolWork) -> int:
        return [stage.name for stage in self._scenario.stages].index(work.stage)

    def _serve(self, arrival_s: Floats) -> Floats:
        leave_s = arrival_s
        for stage, plan, (cpu, accelerator) in zip(self._scenario.stages, self._plans, self._pools, strict=True):
            entry_s = leave_s + stage.transfer_s
            order = np.argsort(entry_s, kind="stable")  # ties go by query
            start_s, end_s, leave_s = np.empty(len(plan.base_s)), np.empty(len(plan.base_s)), np.empty(len(entry_s))
            serve(
                order,
                entry_s,
                plan.offloaded,
                plan.first,
                plan.base_s,
                cpu.idle(),
                accelerator.idle(),
                stage.overhead_s,
                start_s,
                end_s,
                leave_s,
            )
        return leave_s


@compiled
def _pool_seconds(visits: Any, first: Any, base_s: Any, slowdown: Any, overhead_s: Any) -> Any:
    query_s = np.zeros(len(visits))
    squares = 0.0
    for query in range(len(visits)):
        if visits[query]:
            for request in range(first[query], first[query + 1]):
                request_s = base_s[request] * slowdown + overhead_s
                query_s[query] += request_s
                squares += request_s * request_s
    return query_s, squares


class _Servers:
    """A pool as the kernel wants it: free times, slow-down by busy servers, whether there is any."""

    def __init__(self, pool: Pool) -> None:
        self._slowdown = np.array([pool.slowdown(busy) for busy in range(pool.servers + 1)])
        self._contended = bool((self._slowdown != 1.0).any())

    def idle(self) -> tuple[Floats, Floats, bool]:
        return np.full(len(self._slowdown) - 1, -np.inf), self._slowdown, self._contended
