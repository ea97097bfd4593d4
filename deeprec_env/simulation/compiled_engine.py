"""The compiled engine: the same floats as the asyncio engine, by recursion where that may serve, else by events.

The recursion serves queries as soon as they have entered; what lies after the present is hidden from `records`.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting, SettingNumbers
from deeprec_env.simulation.admission import admit_in_python
from deeprec_env.simulation.arrays import (
    ADMITTED,
    BEFORE,
    HELD,
    all_rows,
    empty_state,
    node_arrays,
    tail,
    with_room,
)
from deeprec_env.simulation.checks import check_ahead, check_rows, check_setting, warn_beyond
from deeprec_env.simulation.event_kernel import advance_events, run_window_events
from deeprec_env.simulation.event_state import EventState, empty_events, events_tail, events_with_room
from deeprec_env.simulation.kernel_choice import Kernel, kernel_for
from deeprec_env.simulation.node import advance, completion_s, due, requests_needed, run_window
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.simulation.slow_phases import begin_phases, redraw_phases
from deeprec_env.simulation.windows import Window, width
from deeprec_env.workload.stream import Traffic

_REQUESTS = 4
"""Requests a query that a fork begins with room for."""


class CompiledEngine:
    """A node in compiled code: it steps through windows and can be forked, but runs no coroutines."""

    def __init__(self, scenario: Scenario, traffic: Traffic, kernel: Kernel | None = None) -> None:
        """`kernel` None: the fastest that serves the scenario.

        Raises `InputError` if that is the events' and a latency has to be asked in Python.
        """
        self._scenario, self._traffic = scenario, traffic
        self._noise_key = np.uint64(traffic.noise_key)
        self._largest = int(traffic.items.max(initial=0))
        self._node = node_arrays(scenario, self._largest)
        self._all_rows = all_rows(scenario)
        idle = empty_state(self._node, 0, 0)
        requests = requests_needed(self._node, idle, traffic.items, scenario.setting.numbers)
        self._state = empty_state(self._node, len(traffic.items), requests)  # what all need under the first setting
        self._slow_key = traffic.slow_key
        begin_phases(self._node.slowness, self._state.phases, np.uint64(self._slow_key))
        self._events: EventState | None = None
        if (kernel or kernel_for(scenario)) == "events":
            check_rows(scenario)
            self._events = empty_events(self._node, len(traffic.items))
        self._window = np.empty(width(len(scenario.stages), len(scenario.planned_items)))
        self._now_s = 0.0
        self._drained = False
        self._warned: set[Setting] = set()
        self._set(scenario.setting)

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return self._now_s

    @property
    def arrived(self) -> int:
        """Queries that have arrived."""
        return int(self._state.counts[ADMITTED])

    @property
    def first_known(self) -> int:
        """How many queries have come before the first that is still known: of a fork the oldest that was in flight."""
        return int(self._state.counts[ADMITTED] - self._state.counts[HELD])

    @property
    def completed(self) -> int:
        """Queries that have completed."""
        return self.first_known + int(np.count_nonzero(self._leave_s() < math.inf))

    def control(self, setting: Setting) -> None:
        """Put a setting in force for the queries that arrive from now on."""
        if setting != self._setting:
            check_setting(self._scenario, setting)
            self._set(setting)

    def _set(self, setting: Setting) -> None:
        self._setting, self._in_force = setting, setting.numbers
        if setting not in self._warned:
            self._warned.add(setting)
            warn_beyond(self._scenario, self._largest, setting)

    def expect(self, ahead: Traffic) -> None:
        """Let `ahead` be the arrivals still to come, instead of those before; the node's slow phases stay."""
        check_ahead(ahead, self._now_s)
        self._traffic, self._noise_key = ahead, np.uint64(ahead.noise_key)
        self._state.counts[BEFORE] = self._state.counts[ADMITTED]
        self._drained = False
        largest = int(ahead.items.max(initial=0))
        if largest > self._largest:
            self._largest, self._warned = largest, set()
            self._node = node_arrays(self._scenario, largest)
            self._set(self._setting)

    def advance(self, until_s: float) -> None:
        """Run up to a time; what happens at it is still to come."""
        if not self._all_rows:
            self._admit_in_python(until_s)
        while self._grow(self._advance(until_s)):
            pass
        self._now_s = until_s

    def run_window(self, setting: Setting, begin_s: float, end_s: float) -> Window:
        """Run from `begin_s`, the present, to `end_s` under a setting and measure the window; in turn, no gaps."""
        self.control(setting)
        if not self._all_rows:
            self._admit_in_python(end_s)
        while self._grow(self._run_window(begin_s, end_s)):
            pass
        self._now_s = end_s
        return Window.of(self._window.tolist(), len(self._scenario.stages))

    def _advance(self, until_s: float) -> tuple[int, int]:
        if self._events is None:
            return advance(self._node, self._state, *self._ahead(), until_s)
        return advance_events(self._node, self._state, self._events, *self._ahead(), until_s)

    def _run_window(self, begin_s: float, end_s: float) -> tuple[int, int]:
        measured = begin_s, end_s, self._scenario.sla_s, self._window
        if self._events is None:
            return run_window(self._node, self._state, *self._ahead(), *measured)
        return run_window_events(self._node, self._state, self._events, *self._ahead(), *measured)

    def _ahead(self) -> tuple[np.uint64, Floats, Ints, Ints, SettingNumbers]:
        ahead = self._traffic
        return self._noise_key, ahead.arrival_s, ahead.items, ahead.query, self._in_force

    def _grow(self, needed: tuple[int, int]) -> bool:
        """Make room for queries and requests, where there is too little of it."""
        if needed == (0, 0):
            return False
        self._state = with_room(self._node, self._state, *needed)
        if self._events is not None:
            self._events = events_with_room(self._node, self._events, needed[0])
        return True

    def drain(self) -> None:
        """Run until every query has completed."""
        before_s = self._now_s
        self.advance(math.inf)
        self._drained = True
        left_s = self._leave_s()
        ends_s = np.where(
            np.isnan(left_s), self._state.arrival_s[: len(left_s)], left_s
        )  # of those shed: their arrival
        self._now_s = max(before_s, float(ends_s.max(initial=-math.inf)))

    def close(self) -> None:
        """There is nothing to release."""

    def fork(self, future: Traffic) -> CompiledEngine:
        """The node as it is now, to go on by itself with `future` as the traffic still to come.

        `future` is as in `expect`. Queries in flight go on as they are. The fork forgets the queries before the oldest
        in flight, so that it costs no more late in a run than early: its records begin there. Slow phases are
        those of the future's key for queries that are yet to enter a stage: with another one nobody knows them ahead.
        """
        check_ahead(future, self._now_s)
        in_flight = np.flatnonzero(self._leave_s() == math.inf)
        oldest = int(in_flight[0]) if in_flight.size else int(self._state.counts[HELD])
        queries = len(future.items)
        fork = copy(self)
        fork._state = tail(self._node, self._state, oldest, queries, _REQUESTS * queries)
        if self._events is not None:
            fork._events = events_tail(self._node, self._state, self._events, oldest, queries)
        if future.slow_key != self._slow_key:
            fork._slow_key = future.slow_key
            key, decided = np.uint64(future.slow_key), self._events is None
            redraw_phases(fork._node.slowness, fork._state.phases, key, self._now_s, decided)
        fork._window = self._window.copy()
        fork.expect(future)
        return fork

    def records(self, first: int = 0) -> Records:
        """What is known of the queries that have arrived, from the `first`-th on (a fork: from its first, at least).

        The arrays may be the engine's own: they are not to be written.
        """
        state, first = self._state, max(first, self.first_known)
        queries = slice(first - self.first_known, int(state.counts[HELD]))
        stages = [StageRecords.of_state(self._node, state, stage, queries) for stage in range(len(state.first))]
        if not self._drained:
            stages = [self._begun(stage) for stage in stages]
        return Records(
            first,
            state.query[queries],
            state.arrival_s[queries],
            state.items[queries],
            state.setting[queries],
            self._visible(completion_s(self._node, state, queries.start, queries.stop)),
            tuple(stages),
            self._scenario.controls,
        )

    def _begun(self, stage: StageRecords) -> StageRecords:
        begun = stage.start_s < self._now_s
        start_s, end_s = (np.where(begun, times_s, math.inf) for times_s in (stage.start_s, stage.end_s))
        return replace(stage, start_s=start_s, end_s=end_s)

    def _leave_s(self) -> Floats:
        """When the queries known have completed, infinite where they have not yet."""
        return self._visible(completion_s(self._node, self._state, 0, self._state.counts[HELD]))

    def _visible(self, times_s: Floats) -> Floats:
        return times_s if self._drained else np.where(times_s >= self._now_s, math.inf, times_s)

    def _admit_in_python(self, until_s: float) -> None:
        """Take in the queries that arrive before a time, where some latencies have to be asked in Python."""
        begin, end = due(self._state, self._traffic.arrival_s, until_s)
        ahead = self._traffic.part(begin, end)
        requests = requests_needed(self._node, self._state, ahead.items, self._in_force)
        self._state = with_room(self._node, self._state, int(self._state.counts[HELD]) + end - begin, requests)
        admit_in_python(self._scenario, self._node, self._state, ahead, self._setting)
