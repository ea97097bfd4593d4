"""The sample of a control window and what follows from it (rules 10 and 11), compiled: once, for all engines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.simulation.arrays import HELD, OPEN
from deeprec_env.simulation.kernels import busy_seconds
from deeprec_env.simulation.node import advance, completion_s


@compiled
def percentile(ascending: Any, level: Any) -> Any:
    """Percentile of a sorted array that is not empty, `level` 0 to 1, by linear interpolation: NumPy's to the bit."""
    place = level * (len(ascending) - 1)
    below = math.floor(place)
    low, high = ascending[below], ascending[min(below + 1, len(ascending) - 1)]
    along = place - below
    if along >= 0.5:
        return high - (high - low) * (1.0 - along)
    return low + (high - low) * along


@compiled
def measure_sample(arrival_s: Any, items: Any, completion_s: Any, begin_s: Any, end_s: Any, sla_s: Any) -> Any:
    """p50, p95, p99, violation rate, sample size, arrivals, completions, mean items of the arrivals, and backlog.

    Of [begin_s, end_s), from queries that hold every one in flight during it. The sample is the latency of every query
    that completed in the window and the age of every query in flight at its end that is older than `sla_s`.
    """
    latency_s, age_s = np.empty(len(arrival_s)), np.empty(len(arrival_s))
    arrived = arrived_items = completed = backlog = old = 0
    for query in range(len(arrival_s) - 1, -1, -1):  # from the last arrival on, so that ages ascend
        if begin_s <= arrival_s[query] < end_s:
            arrived += 1
            arrived_items += items[query]
        if completion_s[query] >= end_s:
            backlog += 1
            age_s[old] = end_s - arrival_s[query]
            old += age_s[old] > sla_s
        elif completion_s[query] >= begin_s:
            latency_s[completed] = completion_s[query] - arrival_s[query]
            completed += 1
    mean_items = arrived_items / arrived if arrived else 0.0
    size = completed + old
    if size == 0:
        return 0.0, 0.0, 0.0, 0.0, size, arrived, completed, mean_items, backlog
    ascending = merge(np.sort(latency_s[:completed]), age_s[:old])
    late = size - np.searchsorted(ascending, sla_s, side="right")
    p50_s, p95_s, p99_s = percentile(ascending, 0.5), percentile(ascending, 0.95), percentile(ascending, 0.99)
    return p50_s, p95_s, p99_s, late / size, size, arrived, completed, mean_items, backlog


@compiled
def sample_by_plan(
    arrival_s: Any, completion_s: Any, plan: Any, plans: Any, begin_s: Any, end_s: Any, sla_s: Any
) -> Any:
    """By plan, how many queries of it `measure_sample`'s sample has, and how many within `sla_s`: (plans, 2)."""
    found = np.zeros((plans, 2), dtype=np.int64)
    for query in range(len(arrival_s)):
        if completion_s[query] >= end_s:
            found[plan[query], 0] += end_s - arrival_s[query] > sla_s
        elif completion_s[query] >= begin_s:
            found[plan[query], 0] += 1
            found[plan[query], 1] += completion_s[query] - arrival_s[query] <= sla_s
    return found


@compiled
def count_at_stage(ahead: Any, first: Any, request_end_s: Any, sub_batches: Any, end_s: Any) -> Any:
    """How many of the queries that are `ahead` have work at a stage that is not done at `end_s`.

    They are struck off, so that the next stage is asked for the others alone.
    """
    count = 0
    for query in range(len(ahead)):
        if not ahead[query]:
            continue
        for request in range(first[query * sub_batches], first[(query + 1) * sub_batches]):
            if request_end_s[request] >= end_s:
                ahead[query] = False
                count += 1
                break
    return count


@compiled
def merge(one: Any, other: Any) -> Any:
    """Two ascending arrays as one."""
    merged = np.empty(len(one) + len(other))
    i = j = 0
    for place in range(len(merged)):
        if j == len(other) or (i < len(one) and one[i] <= other[j]):
            merged[place] = one[i]
            i += 1
        else:
            merged[place] = other[j]
            j += 1
    return merged


@compiled
def energy_j(idle_w: Any, busy_w: Any, servers: Any, busy_s: Any, length_s: Any) -> Any:
    """Energy of a pool at power idle_w + (busy_w - idle_w) * busy / servers, the busy servers integrated over time."""
    return idle_w * length_s + (busy_w - idle_w) * busy_s / servers


@compiled
def close_window(node: Any, state: Any, begin_s: Any, end_s: Any, sla_s: Any, window: Any) -> None:
    """Write the window [begin_s, end_s) of a compiled node, whose state stands at `end_s`: a `Window` as a row."""
    open_, held = state.counts[OPEN], state.counts[HELD]
    completed_s = completion_s(node, state, open_, held)
    found = measure_sample(state.arrival_s[open_:held], state.items[open_:held], completed_s, begin_s, end_s, sla_s)
    begins, ends = open_ * node.sub_batches, held * node.sub_batches
    length_s = end_s - begin_s
    shares = np.zeros(2)
    joules = 0.0
    ahead = completed_s >= end_s
    at = 14
    for stage in range(len(node.overhead_s)):
        busy = busy_seconds(
            state.offloaded[stage, begins:ends],
            state.first[stage, begins : ends + 1],
            state.start_s[stage],
            state.end_s[stage],
            begin_s,
            end_s,
            stage == 0,
        )
        for kind in range(2):
            pool = 2 * stage + kind
            window[at + kind] = 0.0
            if node.servers[pool] > 0:
                window[at + kind] = busy[kind] / (node.servers[pool] * length_s)
                shares[kind] = max(shares[kind], window[at + kind])
                joules += energy_j(node.idle_w[pool], node.busy_w[pool], node.servers[pool], busy[kind], length_s)
        first = state.first[stage, begins : ends + 1]
        window[at + 2] = count_at_stage(ahead, first, state.end_s[stage], node.sub_batches, end_s)
        at += 3
    plan = state.plan[open_:held]
    by_plan = sample_by_plan(state.arrival_s[open_:held], completed_s, plan, len(node.fewest), begin_s, end_s, sla_s)
    window[at:] = by_plan.ravel()
    window[0], window[1] = begin_s, end_s
    window[2], window[3], window[4], window[5], window[6] = found[0], found[1], found[2], found[3], found[4]
    window[7], window[8], window[9] = found[5] / length_s, found[6] / length_s, found[7]
    window[10], window[11], window[12], window[13] = shares[0], shares[1], found[8], joules
    query = 0
    while query < held - open_ and completed_s[query] < end_s:
        query += 1
    state.counts[OPEN] += query


@compiled
def run_window(
    node: Any,
    state: Any,
    noise_key: Any,
    arrival_s: Any,
    items: Any,
    setting: Any,
    begin_s: Any,
    end_s: Any,
    sla_s: Any,
    window: Any,
) -> Any:
    """`advance` up to `end_s` under a setting, then `close_window`; returns what `advance` does."""
    needed = advance(node, state, noise_key, arrival_s, items, setting, end_s)
    if needed[0] == 0:
        close_window(node, state, begin_s, end_s, sla_s, window)
    return needed
