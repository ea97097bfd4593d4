"""The compiled node: queries are admitted, served stage by stage and forgotten. `NodeState` is its memory.

FCFS needs no event heap: when a query enters a stage, all that happens to it there is decided (`kernels.serve`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.latency.service_times import write_s
from deeprec_env.scenario.bounds import MOST_ITEMS
from deeprec_env.simulation.arrays import ADMITTED, BEFORE, HELD, OPEN, WAITING
from deeprec_env.simulation.kernels import requests_of, serve, share, split
from deeprec_env.workload.noise import keys_of


@compiled
def limits(node: Any, stage: Any, setting: Any) -> Any:
    """Most items of a request at a stage under a setting, and the threshold as `split` takes it: 0 for never.

    A setting is (batch size, threshold, plan). Without an accelerator the threshold is never, without a CPU always.
    """
    batch_size = np.int64(MOST_ITEMS) if node.whole[stage] else np.int64(setting[0])
    if node.servers[2 * stage] == 0:
        return batch_size, np.int64(1)
    if setting[1] == math.inf or node.servers[2 * stage + 1] == 0:
        return batch_size, np.int64(0)
    return batch_size, np.int64(setting[1])


@compiled
def requests_needed(node: Any, state: Any, items: Any, setting: Any) -> Any:
    """Room for requests (of the stage with most) that the state needs to take queries of `items` items more."""
    held, fewest = state.counts[HELD], node.fewest[setting[2]]
    most = 0
    for stage in range(len(node.overhead_s)):
        total = state.first[stage, held * node.sub_batches]
        entering = node.entering[setting[2], stage]
        batch_size, offload_from = limits(node, stage, setting)
        for n in items:
            n = min(n, entering)
            away = offload_from > 0 and n >= offload_from
            for position in range(node.sub_batches):
                total += requests_of(share(n, min(node.sub_batches, n, fewest), position), batch_size, away)
        most = max(most, total)
    return most


@compiled
def admit(node: Any, state: Any, noise_key: Any, arrival_s: Any, items: Any, setting: Any) -> None:
    """Take queries in: split them at every stage (rule 4) and know their requests' base service times (rules 3, 9)."""
    begins, count = state.counts[HELD] * node.sub_batches, len(items) * node.sub_batches
    numbers = np.arange(len(items)) + state.counts[ADMITTED]
    for stage in range(len(node.overhead_s)):
        keys = keys_of(noise_key, np.uint64(stage), numbers)
        batch_size, offload_from = limits(node, stage, setting)
        entering = np.minimum(items, node.entering[setting[2], stage])
        offloaded, first, request_items, u = split(
            entering, keys, batch_size, offload_from, node.sub_batches, node.fewest[setting[2]]
        )
        begin = state.first[stage, begins]
        base_s = state.base_s[stage, begin : begin + first[count]]
        part = 0
        while part < count:  # as many consecutive sub-batches as go to the same pool
            last = part + 1
            while last < count and offloaded[last] == offloaded[part]:
                last += 1
            row = node.latency[setting[2], 2 * stage + (1 if offloaded[part] else 0)]
            requests = slice(first[part], first[last])
            write_s(row, request_items[requests], u[requests], base_s[requests])
            part = last
        take(node, state, stage, offloaded, first)
    enter(node, state, arrival_s, items, setting)


@compiled
def take(node: Any, state: Any, stage: Any, offloaded: Any, first: Any) -> None:
    """Hold the requests of new queries at a stage, whose base service times are there already."""
    begins, count = state.counts[HELD] * node.sub_batches, len(offloaded)
    begin = state.first[stage, begins]
    waiting = state.counts[WAITING + stage]
    for part in range(count):
        at = begins + part
        state.offloaded[stage, at] = offloaded[part]
        state.first[stage, at + 1] = begin + first[part + 1]
        state.entry_s[stage, at] = math.inf
        state.leave_s[stage, at] = math.inf
        state.waiting[stage, waiting + part] = at
    for request in range(begin, begin + first[count]):
        state.start_s[stage, request] = math.inf
        state.end_s[stage, request] = math.inf
    state.counts[WAITING + stage] += count


@compiled
def enter(node: Any, state: Any, arrival_s: Any, items: Any, setting: Any) -> None:
    """Let new queries, taken at every stage, arrive under the settings in force."""
    held = state.counts[HELD]
    for query in range(len(items)):
        at = held + query
        state.arrival_s[at] = arrival_s[query]
        state.items[at] = items[query]
        state.batch_size[at], state.threshold[at], state.plan[at] = setting
        for part in range(at * node.sub_batches, (at + 1) * node.sub_batches):
            state.entry_s[0, part] = entry_s(node, state, 0, part, arrival_s[query])
    state.counts[HELD] += len(items)
    state.counts[ADMITTED] += len(items)


@compiled
def entry_s(node: Any, state: Any, stage: Any, part: Any, left_s: Any) -> Any:
    """When a sub-batch enters a stage that left the one before, or arrived, at `left_s`: at once if it has no work."""
    works = state.first[stage, part + 1] > state.first[stage, part]
    return left_s + node.transfer_s[stage] if works else left_s


@compiled
def completion_s(node: Any, state: Any, begin: Any, end: Any) -> Any:
    """When the queries held from `begin` to before `end` complete, with their last sub-batch; infinite: unknown."""
    leave_s, sub_batches = state.leave_s[-1], node.sub_batches
    if sub_batches == 1:
        return leave_s[begin:end]
    last_s = np.empty(end - begin)
    for query in range(begin, end):
        last_s[query - begin] = leave_s[query * sub_batches : (query + 1) * sub_batches].max()
    return last_s


@compiled
def restart(node: Any, state: Any, arrival_s: Any) -> None:
    """Make a node idle again, with all queries that it holds ahead, at other arrival times."""
    state.free_s[:] = -math.inf
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
def serve_until(node: Any, state: Any, until_s: Any) -> None:
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
        cpu, accelerator = 2 * stage, 2 * stage + 1
        serve(
            order,
            enters_s,
            state.offloaded[stage],
            state.first[stage],
            state.base_s[stage],
            (state.free_s[cpu, : node.servers[cpu]], node.slowdown[cpu], node.contended[cpu]),
            (
                state.free_s[accelerator, : node.servers[accelerator]],
                node.slowdown[accelerator],
                node.contended[accelerator],
            ),
            node.overhead_s[stage],
            state.start_s[stage],
            state.end_s[stage],
            state.leave_s[stage],
        )


@compiled
def forget(node: Any, state: Any, keep: Any) -> None:
    """Drop the queries held that are not to be kept; they have completed."""
    held, sub_batches = state.counts[HELD], node.sub_batches
    place = np.full(held, -1)
    kept = 0
    for query in range(held):
        if keep[query]:
            place[query] = kept
            kept += 1
    for stage in range(len(state.first)):
        to = 0
        for query in range(held):
            if place[query] < 0:
                continue
            for position in range(sub_batches):
                part, at = query * sub_batches + position, place[query] * sub_batches + position
                for request in range(state.first[stage, part], state.first[stage, part + 1]):
                    state.base_s[stage, to] = state.base_s[stage, request]
                    state.start_s[stage, to] = state.start_s[stage, request]
                    state.end_s[stage, to] = state.end_s[stage, request]
                    to += 1
                state.first[stage, at + 1] = to
                state.entry_s[stage, at] = state.entry_s[stage, part]
                state.leave_s[stage, at] = state.leave_s[stage, part]
                state.offloaded[stage, at] = state.offloaded[stage, part]
        for waiting in range(state.counts[WAITING + stage]):
            query, position = divmod(state.waiting[stage, waiting], sub_batches)
            state.waiting[stage, waiting] = place[query] * sub_batches + position
    for query in range(held):
        at = place[query]
        if at >= 0:
            state.arrival_s[at] = state.arrival_s[query]
            state.items[at] = state.items[query]
            state.batch_size[at] = state.batch_size[query]
            state.threshold[at] = state.threshold[query]
            state.plan[at] = state.plan[query]
    state.counts[HELD], state.counts[OPEN] = kept, 0


@compiled
def due(state: Any, arrival_s: Any, until_s: Any) -> Any:
    """Which queries of the traffic at hand arrive before `until_s` and have not been admitted: from, to."""
    begin = state.counts[ADMITTED] - state.counts[BEFORE]
    end = begin
    while end < len(arrival_s) and arrival_s[end] < until_s:
        end += 1
    return begin, end


@compiled
def advance(node: Any, state: Any, noise_key: Any, arrival_s: Any, items: Any, setting: Any, until_s: Any) -> Any:
    """Run up to `until_s`; or, if there is no room for that, do nothing and return the queries and requests it needs.

    `arrival_s` and `items` are the traffic at hand. Returns (0, 0) when it has run.
    """
    begin, end = due(state, arrival_s, until_s)
    if end > begin:
        queries = state.counts[HELD] + end - begin
        requests = requests_needed(node, state, items[begin:end], setting)
        if queries > state.arrival_s.shape[0] or requests > state.base_s.shape[1]:
            return queries, requests
        admit(node, state, noise_key, arrival_s[begin:end], items[begin:end], setting)
    serve_until(node, state, until_s)
    return 0, 0
