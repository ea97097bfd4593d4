"""Fixed settings at many rates: what does not depend on the rate is drawn and planned once.

Sizes, splits, noise and service times of a query are the same at every rate, and stationary arrival times only scale
(rule 1). So a rate costs no more than the FCFS recursion, whose bytes are those of the engines; or, of a node whose
queries are not decided when they enter, a run of the event kernel from idle.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.admission import admit_all
from deeprec_env.simulation.arrays import NodeArrays, NodeState, all_rows, empty_state, node_arrays
from deeprec_env.simulation.checks import check_known, warn_beyond
from deeprec_env.simulation.event_kernel import admit_unserved, serve_events
from deeprec_env.simulation.event_state import EventState, empty_events, make_idle
from deeprec_env.simulation.kernel_choice import decided_on_entry
from deeprec_env.simulation.node import completion_s, requests_needed, restart, serve_until
from deeprec_env.simulation.offered_load import ServiceDemand
from deeprec_env.simulation.phase_rows import FACTOR, slowness_row
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import run
from deeprec_env.simulation.slow_phases import begin_phases, rewind_phases
from deeprec_env.workload.stream import Traffic

_SHARES = (0.5, 0.95, 0.99)


class PlannedRun:
    """Queries under the settings of a scenario, planned once, to be run with whatever arrival times.

    `unit` is their traffic at one query a second. Latencies are those of `run(scenario, traffic, engine=engine)` with
    these arrival times, byte for byte; NaN of queries that are shed. Of a node that is served event by event `visits`
    is what the thresholds say, and what rests on service times (`serial_s`, `pool_seconds`) is not known.
    """

    def __init__(self, scenario: Scenario, unit: Traffic) -> None:
        self._scenario, self.unit = scenario, unit
        self._events: EventState | None = None
        if decided_on_entry(scenario):
            self._node = node_arrays(scenario)
            self._state = admit_all(scenario, self._node, empty_state(self._node, 0, 0), unit)
            begin_phases(self._node.slowness, self._state.phases, np.uint64(unit.slow_key))
            return
        largest = int(unit.items.max(initial=0))
        self._node = node_arrays(scenario)
        check_known(self._node, largest)
        warn_beyond(scenario, largest, scenario.setting)
        idle = empty_state(self._node, 0, 0)
        requests = requests_needed(self._node, idle, unit.items, scenario.setting.numbers)
        self._state = empty_state(self._node, len(unit.items), requests)
        begin_phases(self._node.slowness, self._state.phases, np.uint64(unit.slow_key))
        self._events = empty_events(self._node, len(unit.items))
        self._admit_unserved(self._events, unit.arrival_s)

    def __len__(self) -> int:
        return len(self.unit.items)

    def latency_s(self, arrival_s: Floats, engine: str = "compiled") -> Floats:
        """Latency of every query, in seconds, drained; `arrival_s` ascends; all are (queries,)."""
        if engine == "compiled":
            return self._serve(arrival_s) - arrival_s
        return self.records(arrival_s, engine).latency_s

    def records(self, arrival_s: Floats, engine: str = "compiled") -> Records:
        """The run with these arrival times, (queries,)."""
        return run(self._scenario, self.unit.at(arrival_s), engine=engine)

    def tails(self, rates_qps: Floats, warmup: int) -> Floats:
        """Mean, p50, p95 and p99 in seconds at each rate of the unit traffic, (rates, 4), but for the first `warmup`.

        In compiled code, which other threads do not wait for. Percentiles are those of `summarise_tail`, bit by bit, of
        the queries that are admitted (NaN without any); the mean is summed in order.
        """
        if not 0 <= warmup < len(self) - 1:
            raise InputError("warmup", warmup, f"must leave at least two of {len(self)} queries")
        if self._events is not None:
            arrivals_s = [self.unit.arrival_s / qps for qps in rates_qps]
            return np.array([_tail(self._serve(arrival_s) - arrival_s, warmup) for arrival_s in arrivals_s])
        return np.asarray(_tails(self._node, self._state, self.unit.arrival_s, rates_qps, warmup))

    def serial_s(self, queries: int) -> float:
        """Seconds that the first queries take one request at a time: longer than anything that keeps a server busy."""
        total_s = 0.0
        for position, stage in enumerate(self._scenario.stages):
            requests = int(self._first(position)[queries])
            slowest = max(
                pool.slowdown(busy) * max(1.0, slowness_row(pool)[FACTOR])
                for pool in stage.pools().values()
                for busy in (0, 1, pool.servers)
            )
            base_s = float(self._state.base_s[position, :requests].sum())
            total_s += base_s * slowest + requests * stage.overhead_s + stage.transfer_s
        return total_s if queries else 0.0

    def visits(self, demand: ServiceDemand) -> NDArray[np.bool_]:
        """Which queries bring work to a pool, (queries,)."""
        position = self._position(demand)
        demands = np.diff(self._first(position)) > 0
        offloaded = self._state.offloaded[position, :: self._node.sub_batches]
        return np.asarray(demands & (offloaded == (demand.kind == "accelerator")))

    def pool_seconds(self, demand: ServiceDemand) -> tuple[Floats, float]:
        """Server-seconds of a pool, all its servers busy, by query, (queries,), and the mean rest of a request there.

        Without slow phases. The rest is that of a request in progress at a random time, E[S^2] / (2 E[S]); 0 where
        there is no request.
        """
        position = self._position(demand)
        stage = self._scenario.stages[position]
        first, base_s = self._first(position), self._state.base_s[position]
        slowdown = stage.pools()[demand.kind].slowdown(stage.pools()[demand.kind].servers)
        query_s, squares = _pool_seconds(self.visits(demand), first, base_s, slowdown, stage.overhead_s)
        total_s = float(query_s.sum())
        return query_s, squares / (2.0 * total_s) if total_s > 0.0 else 0.0

    def _first(self, position: int) -> Ints:
        """Where the requests of each query begin at a stage, (queries + 1,)."""
        return self._state.first[position, :: self._node.sub_batches]

    def _position(self, demand: ServiceDemand) -> int:
        return [stage.name for stage in self._scenario.stages].index(demand.stage)

    def _serve(self, arrival_s: Floats) -> Floats:
        """When the queries complete: the node idle again, and all of them ahead."""
        if self._events is None:
            restart(self._node, self._state, arrival_s)
            serve_until(self._node, self._state, math.inf)
        else:
            if not all_rows(self._scenario):
                raise InputError("latency", "of its own base_s", "can't be asked event by event; use engine asyncio")
            self._admit_unserved(self._events, arrival_s)
            serve_events(self._node, self._state, self._events, int(self._scenario.setting.numbers.order), math.inf)
        return np.array(completion_s(self._node, self._state, 0, len(self)))

    def _admit_unserved(self, events: EventState, arrival_s: Floats) -> None:
        """Make the node idle, with all queries ahead, event by event."""
        self._state.counts[:] = 0
        make_idle(events)
        rewind_phases(self._node.slowness, self._state.phases)
        unit, key, setting = self.unit, np.uint64(self.unit.noise_key), self._scenario.setting.numbers
        admit_unserved(self._node, self._state, events, key, arrival_s, unit.items, unit.query, setting)


@compiled
def _tails(node: NodeArrays, state: NodeState, unit_s: Floats, rates_qps: Floats, warmup: int) -> Floats:
    found = np.empty((len(rates_qps), 1 + len(_SHARES)))
    for row in range(len(rates_qps)):
        arrival_s = unit_s / rates_qps[row]
        restart(node, state, arrival_s)
        serve_until(node, state, math.inf)
        found[row] = _tail(completion_s(node, state, 0, len(arrival_s)) - arrival_s, warmup)
    return found


@compiled
def _tail(latency_s: Floats, warmup: int) -> Floats:
    """Mean and percentiles of the latencies but for the first `warmup`, and those that are NaN."""
    latency_s = latency_s[warmup:]
    latency_s = latency_s[~np.isnan(latency_s)]
    found = np.full(1 + len(_SHARES), math.nan)
    if len(latency_s) > 0:
        found[0] = latency_s.sum() / len(latency_s)
        for column in range(len(_SHARES)):
            found[1 + column] = _quantile(latency_s, _SHARES[column])
    return found


@compiled
def _quantile(values: Floats, share: float) -> float:
    """NumPy's linear quantile, in its order of operations."""
    place = share * (len(values) - 1)
    below = math.floor(place)
    part = place - below
    ordered = np.partition(values, below)
    low = high = ordered[below]
    if below + 1 < len(values):
        high = ordered[below + 1 :].min()
    step = high - low
    return float(high - step * (1.0 - part) if part >= 0.5 else low + step * part)


@compiled
def _pool_seconds(
    visits: NDArray[np.bool_], first: Ints, base_s: Floats, slowdown: float, overhead_s: float
) -> tuple[Floats, float]:
    query_s = np.zeros(len(visits))
    squares = 0.0
    for query in range(len(visits)):
        if visits[query]:
            for request in range(first[query], first[query + 1]):
                request_s = base_s[request] * slowdown + overhead_s
                query_s[query] += request_s
                squares += request_s * request_s
    return query_s, squares
