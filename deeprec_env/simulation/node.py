"""The compiled node: queries are admitted, served stage by stage and forgotten. `NodeState` is its memory.

FCFS needs no event heap: when a query enters a stage, all that happens to it there is decided (`kernels.serve`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.latency.service_times import write_s
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.simulation.arrays import (
    ACCELERATOR,
    ADMITTED,
    BEFORE,
    CPU,
    HELD,
    OPEN,
    WAITING,
    NodeArrays,
    NodeState,
)
from deeprec_env.simulation.kernels import ServerHeap, last_leave_s, serve
from deeprec_env.simulation.slow_phases import rewind_phases
from deeprec_env.simulation.splitting import requests_at, rule_at, split
from deeprec_env.simulation.window_metrics import close_window
from deeprec_env.workload.noise import keys_of


@compiled
def requests_needed(node: NodeArrays, state: NodeState, items: Ints, setting: SettingNumbers) -> int:
    """Room for requests (of the stage with most) that the state needs to take queries of `items` items more."""
    most = 0
    for stage in range(len(node.overhead_s)):
        held = state.first[stage, state.counts[HELD] * node.sub_batches]
        most = max(most, held + requests_at(rule_at(node, stage, setting), items, node.sub_batches))
    return most


@compiled
def requests_at_most(node: NodeArrays, state: NodeState, items: Ints, setting: SettingNumbers) -> int:
    """No fewer than `requests_needed`, and a few more at most, for one division instead of one a query."""
    most = 0
    for stage in range(len(node.overhead_s)):
        held = state.first[stage, state.counts[HELD] * node.sub_batches]
        rule = rule_at(node, stage, setting)
        most = max(most, held + items.sum() // rule.largest + len(items) * node.sub_batches)
    return most


@compiled
def admit(
    node: NodeArrays,
    state: NodeState,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    setting: SettingNumbers,
) -> None:
    """Take queries in: split them at every stage (rule 4) and know their requests' base service times (rules 3, 9)."""
    begins, count = state.counts[HELD] * node.sub_batches, len(items) * node.sub_batches
    for stage in range(len(node.overhead_s)):
        keys = keys_of(noise_key, np.uint64(stage), query)
        offloaded, first, request_items, u = split(rule_at(node, stage, setting), items, keys, node.sub_batches)
        begin = state.first[stage, begins]
        base_s = state.base_s[stage, begin : begin + first[count]]
        part = 0
        while part < count:  # as many consecutive sub-batches as go to the same pool
            last = part + 1
            while last < count and offloaded[last] == offloaded[part]:
                last += 1
            row = node.latency[np.int64(setting.plan), 2 * stage + (ACCELERATOR if offloaded[part] else CPU)]
            requests = slice(first[part], first[last])
            write_s(row, request_items[requests], u[requests], base_s[requests])
            part = last
        take(node, state, stage, offloaded, first)
    enter(node, state, arrival_s, items, query, setting)


@compiled
def take(node: NodeArrays, state: NodeState, stage: int, offloaded: NDArray[np.bool_], first: Ints) -> None:
    """`hold` of new queries whose base service times are there already; they wait to be served."""
    hold(node, state, stage, offloaded, first)
    begins, waiting = state.counts[HELD] * node.sub_batches, state.counts[WAITING + stage]
    for part in range(len(offloaded)):
        state.waiting[stage, waiting + part] = begins + part
    state.counts[WAITING + stage] += len(offloaded)


@compiled
def hold(node: NodeArrays, state: NodeState, stage: int, offloaded: NDArray[np.bool_], first: Ints) -> None:
    """Hold the requests of new queries at a stage, as ones of which nothing is known yet."""
    begins, count = state.counts[HELD] * node.sub_batches, len(offloaded)
    begin = state.first[stage, begins]
    for part in range(count):
        at = begins + part
        state.offloaded[stage, at] = offloaded[part]
        state.first[stage, at + 1] = begin + first[part + 1]
        state.entry_s[stage, at] = math.inf
        state.leave_s[stage, at] = math.inf
    for request in range(begin, begin + first[count]):
        state.start_s[stage, request] = math.inf
        state.end_s[stage, request] = math.inf


@compiled
def enter(
    node: NodeArrays, state: NodeState, arrival_s: Floats, items: Ints, query: Ints, setting: SettingNumbers
) -> None:
    """Let new queries, taken at every stage, arrive under the settings in force."""
    held = state.counts[HELD]
    for i in range(len(items)):
        at = held + i
        state.arrival_s[at] = arrival_s[i]
        state.items[at] = items[i]
        state.query[at] = query[i]
        for control in range(len(setting)):
            state.setting[at, control] = setting[control]
        for part in range(at * node.sub_batches, (at + 1) * node.sub_batches):
            state.entry_s[0, part] = entry_s(node, state, 0, part, arrival_s[i])
    state.counts[HELD] += len(items)
    state.counts[ADMITTED] += len(items)


@compiled
def entry_s(node: NodeArrays, state: NodeState, stage: int, part: int, left_s: float) -> float:
    """When a sub-batch enters a stage that left the one before, or arrived, at `left_s`: at once if it has no work."""
    works = state.first[stage, part + 1] > state.first[stage, part]
    return left_s + node.transfer_s[stage] if works else left_s


@compiled
def completion_s(node: NodeArrays, state: NodeState, begin: int, end: int) -> Floats:
    """When the queries held from `begin` to before `end` complete; infinite: unknown."""
    return last_leave_s(state.leave_s[-1], node.sub_batches, begin, end)


@compiled
def restart(node: NodeArrays, state: NodeState, arrival_s: Floats) -> None:
    """Make a node idle again, with all queries that it holds ahead, at other arrival times."""
    state.free_s[:] = -math.inf
    if node.slowed.any():
        rewind_phases(node.slowness, state.phases)
    for query in range(len(arrival_s)):
        state.arrival_s[query] = arrival_s[query]
        for part in range(query * node.sub_batches, (query + 1) * node.sub_batches):
            state.entry_s[0, part] = entry_s(node, state, 0, part, arrival_s[query])
    count = len(arrival_s) * node.sub_batches
    for stage in range(len(node.overhead_s)):
        for part in range(count):
            state.waiting[stage, part] = part
        state.counts[WAITING + stage] = count


@compiled
def _servers(node: NodeArrays, state: NodeState, pool: int) -> ServerHeap:
    slowed = node.slowed[pool]
    uneven = node.contended[pool] or slowed
    return ServerHeap(state.free_s[pool, : node.servers[pool]], node.slowdown[pool], uneven, slowed, pool)


@compiled
def serve_until(node: NodeArrays, state: NodeState, until_s: float) -> None:
    """Serve, stage by stage, what enters before `until_s`, in the order of its entry (rules 5 to 8)."""
    for stage in range(len(node.overhead_s)):
        waiting, enters_s = state.waiting[stage], state.entry_s[stage]
        count = state.counts[WAITING + stage]
        order = np.empty(count, dtype=np.int64)
        due = kept = 0
        sorted_already = True
        for position in range(count):
            query = waiting[position]
            if stage > 0:
                enters_s[query] = entry_s(node, state, stage, query, state.leave_s[stage - 1, query])
            if enters_s[query] < until_s:
                sorted_already = sorted_already and (due == 0 or enters_s[order[due - 1]] <= enters_s[query])
                order[due] = query
                due += 1
            else:
                waiting[kept] = query
                kept += 1
        state.counts[WAITING + stage] = kept
        order = order[:due]
        if not sorted_already:  # `waiting` ascends and the sort is stable, so that ties go by query
            order = order[np.argsort(enters_s[order], kind="mergesort")]
        serve(
            order,
            enters_s,
            state.offloaded[stage],
            state.first[stage],
            state.base_s[stage],
            _servers(node, state, 2 * stage + CPU),
            _servers(node, state, 2 * stage + ACCELERATOR),
            node.overhead_s[stage],
            node.slowness,
            state.phases,
            state.start_s[stage],
            state.end_s[stage],
            state.leave_s[stage],
        )


@compiled
def forget(node: NodeArrays, state: NodeState, keep: NDArray[np.bool_]) -> None:
    """Drop the queries held that are not to be kept; they have completed."""
    held, sub_batches = state.counts[HELD], node.sub_batches
    place = np.full(held, -1)
    kept = 0
    for query in range(held):
        if keep[query]:
            place[query] = kept
            kept += 1
    for stage in range(len(state.first)):
        first, entered, left = state.first[stage], state.entry_s[stage], state.leave_s[stage]
        offloaded, to = state.offloaded[stage], 0
        base_s, start_s, end_s = state.base_s[stage], state.start_s[stage], state.end_s[stage]
        carries = state.carries[stage]
        query = 0
        while query < held:  # as many consecutive queries as are kept, or dropped
            next_ = query + 1
            while next_ < held and keep[next_] == keep[query]:
                next_ += 1
            begin, end = first[query * sub_batches], first[next_ * sub_batches]
            if keep[query] and query == place[query]:  # they stay where they are
                to = end
            elif keep[query]:
                earlier, requests_earlier = (query - place[query]) * sub_batches, begin - to
                for part in range(query * sub_batches, next_ * sub_batches):
                    first[part - earlier + 1] = first[part + 1] - requests_earlier
                    entered[part - earlier], left[part - earlier] = entered[part], left[part]
                    offloaded[part - earlier] = offloaded[part]
                for request in range(begin, end):
                    start_s[request - requests_earlier] = start_s[request]
                    end_s[request - requests_earlier] = end_s[request]
                if len(carries) > 0:
                    for request in range(begin, end):
                        carries[request - requests_earlier] = carries[request]
                if state.counts[WAITING + stage] > 0:  # else all are served
                    for request in range(begin, end):
                        base_s[request - requests_earlier] = base_s[request]
                to += end - begin
            query = next_
        for waiting in range(state.counts[WAITING + stage]):
            query, position = divmod(state.waiting[stage, waiting], sub_batches)
            state.waiting[stage, waiting] = place[query] * sub_batches + position
    for query in range(held):
        at = place[query]
        if at >= 0:
            state.arrival_s[at] = state.arrival_s[query]
            state.items[at] = state.items[query]
            state.query[at] = state.query[query]
            state.setting[at] = state.setting[query]
    state.counts[HELD], state.counts[OPEN] = kept, 0


@compiled
def due(state: NodeState, arrival_s: Floats, until_s: float) -> tuple[int, int]:
    """Which queries of the traffic at hand arrive before `until_s` and have not been admitted: from, to."""
    begin = state.counts[ADMITTED] - state.counts[BEFORE]
    end = begin
    while end < len(arrival_s) and arrival_s[end] < until_s:
        end += 1
    return begin, end


@compiled
def advance(
    node: NodeArrays,
    state: NodeState,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    setting: SettingNumbers,
    until_s: float,
) -> tuple[int, int]:
    """Run up to `until_s`; or, if there is no room for that, do nothing and return the queries and requests it needs.

    `arrival_s`, `items` and `query` are the traffic at hand. Returns (0, 0) when it has run.
    """
    begin, end = due(state, arrival_s, until_s)
    if end > begin:
        queries = state.counts[HELD] + end - begin
        requests, room = requests_at_most(node, state, items[begin:end], setting), state.base_s.shape[1]
        if requests > room:
            requests = requests_needed(node, state, items[begin:end], setting)
        if queries > state.arrival_s.shape[0] or requests > room:
            return queries, requests
        admit(node, state, noise_key, arrival_s[begin:end], items[begin:end], query[begin:end], setting)
    serve_until(node, state, until_s)
    return 0, 0


@compiled
def run_window(
    node: NodeArrays,
    state: NodeState,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    setting: SettingNumbers,
    begin_s: float,
    end_s: float,
    sla_s: float,
    window: Floats,
) -> tuple[int, int]:
    """`advance` up to `end_s` under a setting, then `close_window`; returns what `advance` does."""
    needed = advance(node, state, noise_key, arrival_s, items, query, setting, end_s)
    if needed[0] == 0:
        close_window(node, state, begin_s, end_s, sla_s, window)
    return needed
