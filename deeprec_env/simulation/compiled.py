"""The compiled engine: the same floats as the asyncio engine, by recursion instead of events.

FCFS needs no event heap: when a query enters a stage, all that happens to it there is decided. So the engine serves
queries as soon as they have entered, and hides from `records` what lies after the present.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Pool, Scenario, Stage, Threshold
from deeprec_env.simulation.kernels import serve
from deeprec_env.simulation.plan import plan_stages
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.simulation.settings import check_settings
from deeprec_env.workload.stream import Traffic


class _Growing:
    """An array that grows at its end, with room to spare."""

    def __init__(self, dtype: Any) -> None:
        self._data: NDArray[Any] = np.empty(1024, dtype=dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, values: NDArray[Any]) -> None:
        wanted = self._count + len(values)
        if wanted > len(self._data):
            room = np.empty(max(wanted, 2 * self._count) - self._count, dtype=self._data.dtype)
            self._data = np.concatenate([self._data[: self._count], room])
        self._data[self._count : wanted] = values
        self._count = wanted

    @property
    def array(self) -> NDArray[Any]:
        return self._data[: self._count]

    def tail(self, begin: int) -> _Growing:
        """A copy of what lies behind `begin`."""
        copy = _Growing(self._data.dtype)
        copy.extend(self.array[begin:])
        return copy


class _Servers:
    """What the kernel needs of a pool: free times (a binary heap), slow-downs, and whether there is any."""

    def __init__(self, pool: Pool) -> None:
        slowdown = np.array([pool.slowdown(busy) for busy in range(pool.servers + 1)])
        self.state = (np.full(pool.servers, -math.inf), slowdown, bool((slowdown != 1.0).any()))

    def copy(self) -> _Servers:
        """The same servers, to go on by themselves."""
        copy = _Servers.__new__(_Servers)
        free_s, slowdown, contended = self.state
        copy.state = (free_s.copy(), slowdown, contended)
        return copy


class _StageState:
    """Requests of one stage in (query, part) order, and the queries that have not been served there."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cpu = _Servers(stage.cpu)
        self.accelerator = _Servers(stage.accelerator or stage.cpu)
        self.offloaded, self.first = _Growing(np.bool_), _Growing(np.int64)
        self.first.extend(np.zeros(1, dtype=np.int64))
        self.base_s, self.start_s, self.end_s = (_Growing(np.float64) for _ in range(3))
        self.entry_s, self.leave_s = _Growing(np.float64), _Growing(np.float64)
        self.waiting = np.empty(0, dtype=np.int64)  # queries that have arrived but not been served here

    def serve(self, order: Ints) -> None:
        serve(
            order,
            self.entry_s.array,
            self.offloaded.array,
            self.first.array,
            self.base_s.array,
            self.cpu.state,
            self.accelerator.state,
            self.stage.overhead_s,
            self.start_s.array,
            self.end_s.array,
            self.leave_s.array,
        )

    def tail(self, query: int) -> _StageState:
        """A copy without the queries before the `query`-th and their requests; none of them may be unserved here."""
        copy = _StageState.__new__(_StageState)
        request = int(self.first.array[query])
        copy.stage, copy.cpu, copy.accelerator = self.stage, self.cpu.copy(), self.accelerator.copy()
        copy.offloaded, copy.first = self.offloaded.tail(query), self.first.tail(query)
        copy.first.array[:] -= request
        copy.base_s, copy.start_s, copy.end_s = (
            of_requests.tail(request) for of_requests in (self.base_s, self.start_s, self.end_s)
        )
        copy.entry_s, copy.leave_s = self.entry_s.tail(query), self.leave_s.tail(query)
        copy.waiting = self.waiting - query
        return copy


class CompiledEngine:
    """A node by the compiled recursion. What it cannot do is run coroutines beside the node: asyncio does that."""

    def __init__(self, scenario: Scenario, traffic: Traffic) -> None:
        self._scenario, self._traffic = scenario, traffic
        self._setting: tuple[int, Threshold] = (scenario.control.batch_size, scenario.control.threshold)
        self._stages = [_StageState(stage) for stage in scenario.stages]
        self._batch_size, self._threshold = _Growing(np.int64), _Growing(np.float64)
        self._now_s = 0.0
        self._drained = False
        self.first_query = 0  # queries before it are forgotten; traffic and arrays begin with it
        self.arrived = 0

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return self._now_s

    @property
    def completed(self) -> int:
        """Queries that have completed."""
        known = np.count_nonzero(self._visible(self._stages[-1].leave_s.array) < math.inf)
        return self.first_query + int(known)

    def control(self, batch_size: int, threshold: Threshold) -> None:
        """Put settings in force for the queries that arrive from now on."""
        check_settings(self._scenario, batch_size, threshold)
        self._setting = (batch_size, threshold)

    def advance(self, until_s: float) -> None:
        """Run up to a time; what happens at it is still to come."""
        self._admit(self.first_query + int(np.searchsorted(self._traffic.arrival_s, until_s, side="left")))
        for before, state in zip([None, *self._stages], self._stages, strict=False):
            if before is not None:
                state.entry_s.array[state.waiting] = before.leave_s.array[state.waiting] + state.stage.transfer_s
            entry_s = state.entry_s.array[state.waiting]
            due = entry_s < until_s
            order = np.argsort(entry_s[due], kind="stable")  # `waiting` ascends, so that ties go by query
            state.serve(state.waiting[due][order])
            state.waiting = state.waiting[~due]
        self._now_s = until_s

    def drain(self) -> None:
        """Run until every query has completed."""
        before_s = self._now_s
        self.advance(math.inf)
        self._drained = True
        self._now_s = max(before_s, float(self._stages[-1].leave_s.array.max(initial=-math.inf)))

    def run_until_completed(self, queries: int) -> None:
        """Refused: this engine runs from time to time."""
        raise InputError("engine", "compiled", "can't stop at a number of completions; use asyncio")

    def close(self) -> None:
        """There is nothing to release."""

    def fork(self, future: Traffic) -> CompiledEngine:
        """The node as it is now, to go on by itself with `future` as the traffic still to come.

        Arrivals of `future` must not lie before `now_s`; its queries are numbered on from `arrived`, and their service
        noise is by its key. Queries in flight go on as they are. The fork forgets the queries before the oldest in
        flight, so that it costs no more late in a run than early: its records begin there.
        """
        if future.arrival_s.size and future.arrival_s[0] < self._now_s:
            raise InputError("future", float(future.arrival_s[0]), f"must arrive from {self._now_s} s on")
        admitted = self.arrived - self.first_query
        in_flight = np.flatnonzero(self._visible(self._stages[-1].leave_s.array) == math.inf)
        oldest = int(in_flight[0]) if in_flight.size else admitted
        fork = CompiledEngine.__new__(CompiledEngine)
        fork._scenario, fork._setting, fork._now_s, fork._drained = self._scenario, self._setting, self._now_s, False
        fork._traffic = Traffic(
            np.concatenate([self._traffic.arrival_s[oldest:admitted], future.arrival_s]),
            np.concatenate([self._traffic.items[oldest:admitted], future.items]),
            future.noise_key,
        )
        fork._stages = [stage.tail(oldest) for stage in self._stages]
        fork._batch_size, fork._threshold = self._batch_size.tail(oldest), self._threshold.tail(oldest)
        fork.first_query, fork.arrived = self.first_query + oldest, self.arrived
        return fork

    def records(self, first_query: int = 0) -> Records:
        """What is known of the queries that have arrived, from `first_query` on (a fork: from its first, at least)."""
        first_query = max(first_query, self.first_query)
        queries = slice(first_query - self.first_query, self.arrived - self.first_query)
        stages = []
        for state in self._stages:
            first: Ints = state.first.array[queries.start :]
            requests = slice(int(first[0]), int(first[-1]))
            start_s, end_s = state.start_s.array[requests], state.end_s.array[requests]
            begun = start_s < self._now_s if not self._drained else np.True_
            stages.append(
                StageRecords(
                    state.offloaded.array[queries].copy(),
                    first - first[0],
                    np.where(begun, start_s, math.inf),
                    np.where(begun, end_s, math.inf),
                )
            )
        return Records(
            first_query,
            self._traffic.arrival_s[queries],
            self._traffic.items[queries],
            self._batch_size.array[queries].copy(),
            self._threshold.array[queries].copy(),
            self._visible(self._stages[-1].leave_s.array[queries]),
            tuple(stages),
        )

    def _visible(self, times_s: Floats) -> Floats:
        return times_s.copy() if self._drained else np.where(times_s < self._now_s, times_s, math.inf)

    def _admit(self, arrived: int) -> None:
        """Plan the queries that have arrived since, under the settings in force."""
        count = arrived - self.arrived
        if count <= 0:
            return
        begin, end = self.arrived - self.first_query, arrived - self.first_query
        items = self._traffic.items[begin:end]
        plans = plan_stages(self._scenario.stages, self._traffic.noise_key, self.arrived, items, *self._setting)
        not_yet = np.full(count, math.inf)
        for state, plan in zip(self._stages, plans, strict=True):
            state.offloaded.extend(plan.offloaded)
            state.first.extend(plan.first[1:] + state.first.array[-1])
            state.base_s.extend(plan.base_s)
            state.start_s.extend(np.full(len(plan.base_s), math.inf))
            state.end_s.extend(np.full(len(plan.base_s), math.inf))
            state.entry_s.extend(not_yet)
            state.leave_s.extend(not_yet)
            state.waiting = np.concatenate([state.waiting, np.arange(begin, end)])
        transfer_s = self._stages[0].stage.transfer_s
        self._stages[0].entry_s.array[begin:end] = self._traffic.arrival_s[begin:end] + transfer_s
        self._batch_size.extend(np.full(count, self._setting[0]))
        self._threshold.extend(np.full(count, math.inf if self._setting[1] is None else float(self._setting[1])))
        self.arrived = arrived
