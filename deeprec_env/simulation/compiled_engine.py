"""The compiled engine: the same floats as the asyncio engine, by recursion instead of events.

It serves queries as soon as they have entered, and hides from `records` what lies after the present.
"""

from __future__ import annotations

import math
from copy import copy
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.admission import admit_in_python
from deeprec_env.simulation.arrays import (
    ADMITTED,
    BEFORE,
    HELD,
    all_rows,
    compiled_setting,
    empty_state,
    node_arrays,
    tail,
    with_room,
)
from deeprec_env.simulation.node import advance, completion_s, due, requests_needed
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.simulation.settings import check_ahead, check_settings, warn_beyond
from deeprec_env.simulation.window_metrics import run_window
from deeprec_env.simulation.windows import Window, width
from deeprec_env.workload.stream import Traffic

_REQUESTS = 4
"""Requests a query that a fork begins with room for."""


class CompiledEngine:
    """A node by the compiled recursion. What it cannot do is run coroutines beside the node: asyncio does that."""

    def __init__(self, scenario: Scenario, traffic: Traffic) -> None:
        self._scenario, self._traffic = scenario, traffic
        self._noise_key = np.uint64(traffic.noise_key)
        self._largest = int(traffic.items.max(initial=0))
        self._node = node_arrays(scenario)
        self._all_rows = all_rows(scenario)
        queries, start = len(traffic.arrival_s), scenario.control
        idle = empty_state(self._node, 0, 0)
        in_force = compiled_setting(start.batch_size, start.threshold, scenario.plan)
        requests = requests_needed(self._node, idle, traffic.items, in_force)
        self._state = empty_state(self._node, queries, requests)  # what all queries need under the first settings
        self._window = np.empty(width(len(scenario.stages), len(scenario.planned_items)))
        self._now_s = 0.0
        self._drained = False
        self._set(start.batch_size, start.threshold, scenario.plan)

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return self._now_s

    @property
    def arrived(self) -> int:
        """Queries that have arrived."""
        return int(self._state.counts[ADMITTED])

    @property
    def first_query(self) -> int:
        """The first query that is still known: of a fork the oldest that was in flight."""
        return int(self._state.counts[ADMITTED] - self._state.counts[HELD])

    @property
    def completed(self) -> int:
        """Queries that have completed."""
        return self.first_query + int(np.count_nonzero(self._leave_s() < math.inf))

    def control(self, batch_size: int, threshold: Threshold, plan: int | None = None) -> None:
        """Put settings in force for the queries that arrive from now on; `plan` is an index, None the scenario's."""
        plan = self._scenario.plan if plan is None else plan
        if (batch_size, threshold, plan) != self._setting:
            check_settings(self._scenario, batch_size, threshold, plan)
            self._set(batch_size, threshold, plan)

    def _set(self, batch_size: int, threshold: Threshold, plan: int) -> None:
        self._setting = (batch_size, threshold, plan)
        self._in_force = compiled_setting(batch_size, threshold, plan)
        warn_beyond(self._scenario, self._largest, batch_size, threshold, plan)

    def expect(self, ahead: Traffic) -> None:
        """Let `ahead` be the arrivals still to come, instead of those before."""
        check_ahead(ahead, self._now_s)
        self._traffic, self._noise_key = ahead, np.uint64(ahead.noise_key)
        self._state.counts[BEFORE] = self._state.counts[ADMITTED]
        self._drained = False
        largest = int(ahead.items.max(initial=0))
        if largest > self._largest:
            self._largest = largest
            warn_beyond(self._scenario, largest, *self._setting)

    def advance(self, until_s: float) -> None:
        """Run up to a time; what happens at it is still to come."""
        if not self._all_rows:
            self._admit_in_python(until_s)
        while self._grow(advance(*self._arguments(), until_s)):
            pass
        self._now_s = until_s

    def run_window(
        self, batch_size: int, threshold: Threshold, begin_s: float, end_s: float, plan: int | None = None
    ) -> Window:
        """Run from `begin_s`, the present, to `end_s` under these settings and measure the window; in turn, no gaps."""
        self.control(batch_size, threshold, plan)
        if not self._all_rows:
            self._admit_in_python(end_s)
        while self._grow(run_window(*self._arguments(), begin_s, end_s, self._scenario.sla_s, self._window)):
            pass
        self._now_s = end_s
        return Window.of(self._window.tolist(), len(self._scenario.stages))

    def _arguments(self) -> tuple[Any, ...]:
        traffic = self._traffic
        return self._node, self._state, self._noise_key, traffic.arrival_s, traffic.items, self._in_force

    def _grow(self, needed: tuple[int, int]) -> bool:
        """Make room for queries and requests, where there is too little of it."""
        self._state = with_room(self._node, self._state, *needed)
        return needed != (0, 0)

    def drain(self) -> None:
        """Run until every query has completed."""
        before_s = self._now_s
        self.advance(math.inf)
        self._drained = True
        self._now_s = max(before_s, float(self._leave_s().max(initial=-math.inf)))

    def run_until_completed(self, queries: int) -> None:
        """Refused: this engine runs from time to time."""
        raise InputError("engine", "compiled", "can't stop at a number of completions; use asyncio")

    def close(self) -> None:
        """There is nothing to release."""

    def fork(self, future: Traffic) -> CompiledEngine:
        """The node as it is now, to go on by itself with `future` as the traffic still to come.

        `future` is as in `expect`. Queries in flight go on as they are. The fork forgets the queries before the oldest
        in flight, so that it costs no more late in a run than early: its records begin there.
        """
        check_ahead(future, self._now_s)
        in_flight = np.flatnonzero(self._leave_s() == math.inf)
        oldest = int(in_flight[0]) if in_flight.size else int(self._state.counts[HELD])
        queries = len(future.items)
        fork = copy(self)
        fork._state = tail(self._node, self._state, oldest, queries, _REQUESTS * queries)
        fork._window = self._window.copy()
        fork.expect(future)
        return fork

    def records(self, first_query: int = 0) -> Records:
        """What is known of the queries that have arrived, from `first_query` on (a fork: from its first, at least).

        The arrays may be the engine's own: they are not to be written.
        """
        state, first_query = self._state, max(first_query, self.first_query)
        queries = slice(first_query - self.first_query, int(state.counts[HELD]))
        each = self._node.sub_batches
        stages = []
        for stage in range(len(self._scenario.stages)):
            first = state.first[stage, queries.start * each : queries.stop * each + 1 : each]
            requests = slice(int(first[0]), int(first[-1]))
            start_s, end_s = state.start_s[stage, requests], state.end_s[stage, requests]
            if not self._drained:
                begun = start_s < self._now_s
                start_s, end_s = np.where(begun, start_s, math.inf), np.where(begun, end_s, math.inf)
            stages.append(
                StageRecords(
                    state.offloaded[stage, queries.start * each : queries.stop * each : each],
                    first - first[0],
                    start_s,
                    end_s,
                )
            )
        return Records(
            first_query,
            state.arrival_s[queries],
            state.items[queries],
            state.batch_size[queries],
            state.threshold[queries],
            self._visible(completion_s(self._node, state, queries.start, queries.stop)),
            tuple(stages),
            state.plan[queries] if self._scenario.plans else None,
        )

    def _leave_s(self) -> Floats:
        """When the queries known have completed, infinite where they have not yet."""
        return self._visible(completion_s(self._node, self._state, 0, self._state.counts[HELD]))

    def _visible(self, times_s: Floats) -> Floats:
        return times_s if self._drained else np.where(times_s < self._now_s, times_s, math.inf)

    def _admit_in_python(self, until_s: float) -> None:
        """Take in the queries that arrive before a time, where some latencies have to be asked in Python."""
        begin, end = due(self._state, self._traffic.arrival_s, until_s)
        ahead = self._traffic.part(begin, end)
        requests = requests_needed(self._node, self._state, ahead.items, self._in_force)
        self._state = with_room(self._node, self._state, int(self._state.counts[HELD]) + end - begin, requests)
        admit_in_python(self._scenario, self._node, self._state, ahead, *self._setting)
