"""Many nodes side by side, each with its own scenario, traffic and settings, stepped in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.jit import compiled
from deeprec_env.scenario.by_identity import ByIdentity
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import (
    ADMITTED,
    BEFORE,
    HELD,
    NodeState,
    all_rows,
    empty_state,
    node_arrays,
    with_room,
)
from deeprec_env.simulation.checks import warn_beyond
from deeprec_env.simulation.event_kernel import forget_events, run_window_events
from deeprec_env.simulation.event_state import EventState, empty_events, events_at, events_with_room, make_idle
from deeprec_env.simulation.node import completion_s, forget, run_window
from deeprec_env.simulation.slow_phases import begin_phases
from deeprec_env.simulation.splitting import setting_numbers
from deeprec_env.simulation.stacked_arrays import StackedArrays, node_at, put, room_for, state_at
from deeprec_env.simulation.windows import AT, width
from deeprec_env.workload.checked import size_probabilities
from deeprec_env.workload.noise import Keys
from deeprec_env.workload.stream import Traffic

_QUERIES, _REQUESTS = 1024, 8192
"""Room that every node begins with; nodes forget what has completed."""

_BACKLOG = AT.backlog


@compiled
def _run_windows(
    stack: StackedArrays,
    states: NodeState,
    noise_keys: Keys,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    settings: Floats,
    begin_s: Floats,
    end_s: Floats,
    sla_s: Floats,
    windows: Floats,
    position: int,
) -> tuple[int, int, int]:
    """`run_window` of every node from `position` on, up to one without room: which, and what it needs."""
    for i in range(position, len(noise_keys)):
        node = node_at(stack, i)
        state = state_at(states, i, node)
        queries, requests = run_window(
            node,
            state,
            noise_keys[i],
            arrival_s[i],
            items[i],
            query[i],
            setting_numbers(settings, i),
            begin_s[i],
            end_s[i],
            sla_s[i],
            windows[i, : stack.width[i]],
        )
        if queries > 0:
            return i, queries, requests
        if 2 * windows[i, _BACKLOG] < state.counts[HELD]:  # now and then: more is dropped than kept
            forget(node, state, completion_s(node, state, 0, state.counts[HELD]) >= end_s[i])
    return len(noise_keys), 0, 0


@compiled
def _run_windows_events(
    stack: StackedArrays,
    states: NodeState,
    events: EventState,
    noise_keys: Keys,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    settings: Floats,
    begin_s: Floats,
    end_s: Floats,
    sla_s: Floats,
    windows: Floats,
    position: int,
) -> tuple[int, int, int]:
    """`_run_windows` where some nodes are served event by event; those that are decided on entry are not."""
    for i in range(position, len(noise_keys)):
        node = node_at(stack, i)
        state = state_at(states, i, node)
        setting, window = setting_numbers(settings, i), windows[i, : stack.width[i]]
        if node.decided_on_entry:
            queries, requests = run_window(
                node, state, noise_keys[i], arrival_s[i], items[i], query[i], setting, begin_s[i], end_s[i], sla_s[i],
                window,
            )  # fmt: skip
        else:
            queries, requests = run_window_events(
                node, state, events_at(events, i, i), noise_keys[i], arrival_s[i], items[i], query[i], setting,
                begin_s[i], end_s[i], sla_s[i], window,
            )  # fmt: skip
        if queries > 0:
            return i, queries, requests
        if 2 * windows[i, _BACKLOG] < state.counts[HELD]:
            keep = completion_s(node, state, 0, state.counts[HELD]) >= end_s[i]  # not of those shed, which is NaN
            if node.decided_on_entry:
                forget(node, state, keep)
            else:
                forget_events(node, state, events_at(events, i, i), keep)
    return len(noise_keys), 0, 0


class _Kind:
    """A scenario's node, and the most items of a query that its latencies have been told of."""

    def __init__(self, scenario: Scenario) -> None:
        if not all_rows(scenario):
            raise InputError("latency", "of its own base_s", "can't be batched; use vectorization_mode='sync'")
        self.scenario, self.arrays = scenario, node_arrays(scenario)
        self._most = int(size_probabilities(scenario.workload.sizes)[0].max())
        self._largest = 0

    def expect(self, largest: int) -> None:
        """Let latencies warn of queries of `largest` items, if they have not been told of any as large.

        Raises `InputError` for queries that predictions know no mean service of.
        """
        if largest > self._largest:
            if largest > self._most and not self.arrays.decided_on_entry:
                allowed = f"must be at most {self._most}, the most of the scenario's sizes"
                raise InputError("items", largest, allowed)
            self._largest = largest
            threshold = 1 if self.scenario.has_accelerator else None
            for plan in range(len(self.scenario.planned_stages)):
                warn_beyond(self.scenario, largest, Setting(largest, threshold, plan))


class BatchedNodes:
    """Nodes, one for each scenario. Raises `InputError` if a latency of theirs has to be asked in Python."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        count = len(scenarios)
        self._made = ByIdentity(_Kind)
        self._kinds = [self._made.of(scenario) for scenario in scenarios]
        self._noise_keys = np.zeros(count, dtype=np.uint64)
        self._sla_s = np.zeros(count)
        self._arrival_s: Floats = np.empty((count, 0))
        self._items: Ints = np.empty((count, 0), dtype=np.int64)
        self._query: Ints = np.empty((count, 0), dtype=np.int64)
        self._hold(room_for([kind.arrays for kind in self._kinds]), _QUERIES, _REQUESTS)

    def _become(self, scenarios: Sequence[Scenario]) -> None:
        """Let the nodes be those of other scenarios."""
        before, self._kinds = self._kinds, [self._made.of(scenario) for scenario in scenarios]
        stack = room_for([kind.arrays for kind in self._kinds], self._stack)
        parts = self._states.arrival_s.shape[-1] * max(kind.arrays.sub_batches for kind in self._kinds)
        if stack is not self._stack or parts > self._states.entry_s.shape[-1]:
            self._hold(stack, self._states.arrival_s.shape[-1], self._states.base_s.shape[-1])
            return
        for position, kind in enumerate(self._kinds):
            if kind is not before[position]:
                self._put(position, kind)
        self._remember_events()

    def _hold(self, stack: StackedArrays, queries: int, requests: int) -> None:
        """Put all nodes into a new stack, with room for that many queries and requests of each."""
        self._stack = stack
        for position, kind in enumerate(self._kinds):
            self._put(position, kind)
        self._states = empty_state(stack.padded, queries, requests, (len(self._kinds),))
        self._events: EventState | None = None  # none while every node is decided on entry
        self._remember_events()
        stages, plans = stack.padded.overhead_s.shape[-1], stack.padded.fewest.shape[-1]
        self._windows = np.zeros((len(self._kinds), width(stages, plans)))

    def _remember_events(self) -> None:
        """Have the memory that nodes need which are not decided on entry, once there is one."""
        if self._events is None and not all(kind.arrays.decided_on_entry for kind in self._kinds):
            self._events = empty_events(self._stack.padded, self._states.arrival_s.shape[-1], (len(self._kinds),))

    def _put(self, position: int, kind: _Kind) -> None:
        put(self._stack, position, kind.arrays)
        self._sla_s[position] = kind.scenario.sla_s

    def start(self, traffic: Sequence[Traffic], scenarios: Sequence[Scenario] | None = None) -> None:
        """Make every node idle, at time 0, with its traffic ahead; `scenarios`: theirs from now on, if they change."""
        if scenarios is not None:
            self._become(scenarios)
        self._states.counts[:] = 0
        self._states.free_s[:] = -math.inf
        self._states.first[:, :, 0] = 0
        if self._events is not None:
            make_idle(self._events)
        for position, (kind, each) in enumerate(zip(self._kinds, traffic, strict=True)):
            if kind.arrays.slowed.any():
                begin_phases(kind.arrays.slowness, self._states.phases[position], np.uint64(each.slow_key))
        self.expect(traffic)

    def expect(self, traffic: Sequence[Traffic]) -> None:
        """Let this be every node's arrivals still to come, instead of those before; none may lie in its past."""
        self._states.counts[:, BEFORE] = self._states.counts[:, ADMITTED]
        self._noise_keys[:] = [each.noise_key for each in traffic]
        longest = max(len(each.arrival_s) for each in traffic)
        if longest > self._arrival_s.shape[1]:
            self._arrival_s = np.empty((len(traffic), longest))
            self._items, self._query = (np.empty((len(traffic), longest), dtype=np.int64) for _ in range(2))
        for i, each in enumerate(traffic):
            count = len(each.arrival_s)
            self._arrival_s[i, :count], self._items[i, :count] = each.arrival_s, each.items
            self._query[i, :count] = each.query
            self._arrival_s[i, count:] = math.inf
            self._kinds[i].expect(int(each.items.max(initial=0)))

    def run_window(self, settings: Floats, begin_s: Floats, end_s: Floats) -> Floats:
        """Run from `begin_s`, the present, to `end_s`, each node (nodes,) under its own setting.

        `settings` holds `SettingNumbers` as rows, (nodes, controls). Returns every node's `Window` as a row, (nodes,
        most that one of them needs), valid until the next call.
        """
        position = 0
        ahead = self._noise_keys, self._arrival_s, self._items, self._query
        measured = settings, begin_s, end_s, self._sla_s, self._windows
        while True:
            if self._events is None:
                position, queries, requests = _run_windows(self._stack, self._states, *ahead, *measured, position)
            else:
                position, queries, requests = _run_windows_events(
                    self._stack, self._states, self._events, *ahead, *measured, position
                )
            if not queries:
                return self._windows
            self._states = with_room(self._stack.padded, self._states, queries, requests)
            if self._events is not None:
                self._events = events_with_room(self._stack.padded, self._events, queries)
