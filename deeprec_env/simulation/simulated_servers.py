"""Servers in virtual time: how long a request takes is known when it starts (rule 8)."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import TYPE_CHECKING

from deeprec_env.scenario import pools
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.batching_pool import ServeBatch
from deeprec_env.simulation.loop import COMPLETION, EventHeap
from deeprec_env.simulation.pool import Serve, StageLog
from deeprec_env.workload.stream import Traffic

if TYPE_CHECKING:
    from deeprec_env.simulation.slow_phases import SlowPhases


class SimulatedServers:
    """The servers of a scenario's pools in virtual time (`Servers`)."""

    with_items = False

    def __init__(self, scenario: Scenario, loop: EventHeap, traffic: Traffic) -> None:
        self._scenario, self._loop, self._slow_key = scenario, loop, traffic.slow_key

    def one_by_one(
        self, position: int, kind: pools.PoolKind, log: StageLog, complete: Callable[[int, int], None]
    ) -> Serve:
        """See `Servers`."""
        stage, phases = self._scenario.stages[position], self._phases(position, kind)
        return simulated_servers(self._loop, stage.pools()[kind], stage.overhead_s, log, complete, phases)

    def in_batches(
        self, position: int, kind: pools.PoolKind, log: StageLog, complete: Callable[[int, int], None]
    ) -> ServeBatch:
        """See `Servers`."""
        stage, phases = self._scenario.stages[position], self._phases(position, kind)
        return simulated_batches(self._loop, stage.pools()[kind], stage.overhead_s, log, complete, phases)

    def _phases(self, position: int, kind: pools.PoolKind) -> SlowPhases | None:
        spec = self._scenario.stages[position].pools()[kind]
        if spec.slowness is None:
            return None
        from deeprec_env.simulation.slow_phases import SlowPhases  # Numba is loaded for nodes that have them

        return SlowPhases(spec, 2 * position + pools.KINDS.index(kind), self._slow_key)


def simulated_servers(
    loop: EventHeap,
    spec: pools.PoolSpec,
    overhead_s: float,
    log: StageLog,
    complete: Callable[[int, int], None],
    phases: SlowPhases | None = None,
) -> Serve:
    """Servers of one pool, which push each completion on the loop's events; what is called for every request."""
    slowdown = [spec.slowdown(busy) for busy in range(spec.servers + 1)]
    # Names of the enclosing function: looked up faster than attributes, once for each of millions of requests.
    events, base_s, start_s, end_s = loop.events, log.base_s, log.start_s, log.end_s

    def serve(query: int, request: int, busy: int) -> None:
        now = loop.now
        ends_s = now + (base_s[request] * slowdown[busy] + overhead_s)
        start_s[request] = now
        end_s[request] = ends_s
        heappush(events, (ends_s, COMPLETION, query, request, complete))

    def serve_in_phases(query: int, request: int, busy: int) -> None:
        assert phases is not None
        now = loop.now
        ends_s = now + (base_s[request] * slowdown[busy] * phases.factor_at(now) + overhead_s)
        start_s[request] = now
        end_s[request] = ends_s
        heappush(events, (ends_s, COMPLETION, query, request, complete))

    return serve if phases is None else serve_in_phases


def simulated_batches(
    loop: EventHeap,
    spec: pools.PoolSpec,
    overhead_s: float,
    log: StageLog,
    complete: Callable[[int, int], None],
    phases: SlowPhases | None = None,
) -> ServeBatch:
    """Servers of one pool that take batches: all requests of one start and end together."""
    serve_one = simulated_servers(loop, spec, overhead_s, log, complete, phases)

    def serve(members: list[tuple[int, int]], busy: int) -> None:
        carrier = members[0][1]
        serve_one(*members[0], busy)
        for query, request in members[1:]:
            log.start_s[request], log.end_s[request] = log.start_s[carrier], log.end_s[carrier]
            heappush(loop.events, (log.end_s[request], COMPLETION, query, request, complete))

    return serve
