"""Many nodes of one scenario side by side, each with its own traffic and settings, stepped in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import (
    ADMITTED,
    BEFORE,
    HELD,
    NodeArrays,
    NodeState,
    all_rows,
    empty_state,
    node_arrays,
    with_room,
)
from deeprec_env.simulation.checks import warn_beyond
from deeprec_env.simulation.node import completion_s, forget, run_window
from deeprec_env.simulation.splitting import setting_numbers
from deeprec_env.simulation.windows import Window, width
from deeprec_env.workload.noise import Keys
from deeprec_env.workload.stream import Traffic

_QUERIES, _REQUESTS = 1024, 8192
"""Room that every node begins with; nodes forget what has completed."""

_BACKLOG = Window._fields.index("backlog")


@compiled
def _run_windows(
    node: NodeArrays,
    states: NodeState,
    noise_keys: Keys,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    settings: Floats,
    begin_s: float,
    end_s: float,
    sla_s: float,
    windows: Floats,
    position: int,
) -> tuple[int, int, int]:
    """`run_window` of every node from `position` on, up to one without room: which, and what it needs."""
    for i in range(position, len(noise_keys)):
        state = NodeState(
            states.counts[i],
            states.free_s[i],
            states.arrival_s[i],
            states.items[i],
            states.query[i],
            states.setting[i],
            states.entry_s[i],
            states.leave_s[i],
            states.offloaded[i],
            states.first[i],
            states.waiting[i],
            states.base_s[i],
            states.start_s[i],
            states.end_s[i],
        )
        queries, requests = run_window(
            node,
            state,
            noise_keys[i],
            arrival_s[i],
            items[i],
            query[i],
            setting_numbers(settings, i),
            begin_s,
            end_s,
            sla_s,
            windows[i],
        )
        if queries > 0:
            return i, queries, requests
        if 2 * windows[i, _BACKLOG] < state.counts[HELD]:  # now and then: more is dropped than kept
            forget(node, state, completion_s(node, state, 0, state.counts[HELD]) >= end_s)
    return len(noise_keys), 0, 0


class BatchedNodes:
    """`count` nodes of a scenario. Raises `InputError` if a latency of theirs has to be asked in Python."""

    def __init__(self, scenario: Scenario, count: int) -> None:
        if not all_rows(scenario):
            raise InputError("latency", "of its own base_s", "can't be batched; use vectorization_mode='sync'")
        self._scenario, self._count = scenario, count
        self._node = node_arrays(scenario)
        self._states = empty_state(self._node, _QUERIES, _REQUESTS, (count,))
        self._noise_keys = np.zeros(count, dtype=np.uint64)
        self._arrival_s: Floats = np.empty((count, 0))
        self._items: Ints = np.empty((count, 0), dtype=np.int64)
        self._query: Ints = np.empty((count, 0), dtype=np.int64)
        self._windows = np.zeros((count, width(len(scenario.stages), len(scenario.planned_items))))

    def start(self, traffic: Sequence[Traffic]) -> None:
        """Make every node idle, at time 0, with its traffic ahead."""
        self._states.counts[:] = 0
        self._states.free_s[:] = -math.inf
        self._states.first[:, :, 0] = 0
        self.expect(traffic)

    def expect(self, traffic: Sequence[Traffic]) -> None:
        """Let this be every node's arrivals still to come, instead of those before; none may lie in its past."""
        self._states.counts[:, BEFORE] = self._states.counts[:, ADMITTED]
        self._noise_keys[:] = [each.noise_key for each in traffic]
        longest = max(len(each.arrival_s) for each in traffic)
        if longest > self._arrival_s.shape[1]:
            self._arrival_s = np.empty((self._count, longest))
            self._items, self._query = (np.empty((self._count, longest), dtype=np.int64) for _ in range(2))
        for i, each in enumerate(traffic):
            count = len(each.arrival_s)
            self._arrival_s[i, :count], self._items[i, :count] = each.arrival_s, each.items
            self._query[i, :count] = each.query
            self._arrival_s[i, count:] = math.inf
        largest = max(int(each.items.max(initial=0)) for each in traffic)
        threshold = 1 if self._scenario.has_accelerator else None
        for plan in range(len(self._scenario.planned_stages)):
            warn_beyond(self._scenario, largest, Setting(max(largest, 1), threshold, plan))

    def run_window(self, settings: Floats, begin_s: float, end_s: float) -> Floats:
        """Run from `begin_s`, the present, to `end_s`, each node under its own setting.

        `settings` holds `SettingNumbers` as rows, (count, controls). Returns every node's `Window` as a row, (count,
        width), valid until the next call.
        """
        position = 0
        while True:
            position, queries, requests = _run_windows(
                self._node,
                self._states,
                self._noise_keys,
                self._arrival_s,
                self._items,
                self._query,
                settings,
                begin_s,
                end_s,
                self._scenario.sla_s,
                self._windows,
                position,
            )
            if not queries:
                return self._windows
            self._states = with_room(self._node, self._states, queries, requests)
