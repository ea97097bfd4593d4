"""The sample of a control window and what follows from it (rules 10 and 11), compiled: once, for all engines."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import PLAN
from deeprec_env.simulation.arrays import ACCELERATOR, CPU, HELD, OPEN, NodeArrays, NodeState
from deeprec_env.simulation.kernels import busy_seconds, last_leave_s
from deeprec_env.simulation.windows import AT, BACKLOG, PER_STAGE, stage_place

_FIRST_STAGE = stage_place(0)


class Sample(NamedTuple):
    """A window's sample and counts: percentiles in seconds, 0 of an empty sample, and the mean items of arrivals."""

    p50_s: float
    p95_s: float
    p99_s: float
    violation_rate: float
    size: int
    arrived: int
    completed: int
    mean_items: float
    backlog: int


@compiled
def percentile(ascending: Floats, level: float) -> float:
    """Percentile of a sorted array that is not empty, `level` 0 to 1, by linear interpolation: NumPy's to the bit."""
    place = level * (len(ascending) - 1)
    below = math.floor(place)
    low, high = ascending[below], ascending[min(below + 1, len(ascending) - 1)]
    along = place - below
    if along >= 0.5:
        return float(high - (high - low) * (1.0 - along))
    return float(low + (high - low) * along)


@compiled
def measure_sample(
    arrival_s: Floats, items: Ints, completion_s: Floats, begin_s: float, end_s: float, sla_s: float
) -> Sample:
    """The sample of [begin_s, end_s), from queries that hold every one in flight during it.

    It is the latency of every query that completed in the window, and the age of every query in flight at its end that
    is older than `sla_s`.
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
        return Sample(0.0, 0.0, 0.0, 0.0, size, arrived, completed, mean_items, backlog)
    ascending = merge(np.sort(latency_s[:completed]), age_s[:old])
    late = size - np.searchsorted(ascending, sla_s, side="right")
    p50_s, p95_s, p99_s = percentile(ascending, 0.5), percentile(ascending, 0.95), percentile(ascending, 0.99)
    return Sample(p50_s, p95_s, p99_s, late / size, size, arrived, completed, mean_items, backlog)


@compiled
def sample_by_plan(
    arrival_s: Floats, completion_s: Floats, plan: Floats, plans: int, begin_s: float, end_s: float, sla_s: float
) -> Ints:
    """How many queries of `measure_sample`'s sample had each plan, and how many of these were within `sla_s`.

    `plan` holds indices; returns (plans, 2).
    """
    found = np.zeros((plans, 2), dtype=np.int64)
    for query in range(len(arrival_s)):
        if completion_s[query] >= end_s:
            found[np.int64(plan[query]), 0] += end_s - arrival_s[query] > sla_s
        elif completion_s[query] >= begin_s:
            found[np.int64(plan[query]), 0] += 1
            found[np.int64(plan[query]), 1] += completion_s[query] - arrival_s[query] <= sla_s
    return found


@compiled
def count_at_stage(ahead: NDArray[np.bool_], first: Ints, request_end_s: Floats, sub_batches: int, end_s: float) -> int:
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
def merge(one: Floats, other: Floats) -> Floats:
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
def energy_j(idle_w: float, busy_w: float, servers: int, busy_s: float, length_s: float) -> float:
    """Energy of a pool at power idle_w + (busy_w - idle_w) * busy / servers, the busy servers integrated over time."""
    return idle_w * length_s + (busy_w - idle_w) * busy_s / servers


@compiled
def close_window(
    node: NodeArrays, state: NodeState, begin_s: float, end_s: float, sla_s: float, window: Floats
) -> None:
    """Write the window [begin_s, end_s) of a compiled node, whose state stands at `end_s`: a `Window` as a row."""
    open_, held = state.counts[OPEN], state.counts[HELD]
    arrival_s, completed_s = state.arrival_s[open_:held], last_leave_s(state.leave_s[-1], node.sub_batches, open_, held)
    sample = measure_sample(arrival_s, state.items[open_:held], completed_s, begin_s, end_s, sla_s)
    begins, ends = open_ * node.sub_batches, held * node.sub_batches
    length_s = end_s - begin_s
    shares = np.zeros(2)
    joules = 0.0
    ahead = completed_s >= end_s
    for stage in range(len(node.overhead_s)):
        at = _FIRST_STAGE + PER_STAGE * stage
        first = state.first[stage, begins : ends + 1]
        busy = busy_seconds(
            state.offloaded[stage, begins:ends],
            first,
            state.start_s[stage],
            state.end_s[stage],
            begin_s,
            end_s,
            node.decided_on_entry and stage == 0,
        )
        for kind in range(2):
            pool = 2 * stage + kind
            window[at + kind] = 0.0
            if node.servers[pool] > 0:
                window[at + kind] = busy[kind] / (node.servers[pool] * length_s)
                shares[kind] = max(shares[kind], window[at + kind])
                joules += energy_j(node.idle_w[pool], node.busy_w[pool], node.servers[pool], busy[kind], length_s)
        window[at + BACKLOG] = count_at_stage(ahead, first, state.end_s[stage], node.sub_batches, end_s)
    plans = len(node.fewest)
    by_plan = sample_by_plan(arrival_s, completed_s, state.setting[open_:held, PLAN], plans, begin_s, end_s, sla_s)
    window[_FIRST_STAGE + PER_STAGE * len(node.overhead_s) :] = by_plan.ravel()
    window[AT.begin_s], window[AT.end_s] = begin_s, end_s
    window[AT.p50_s], window[AT.p95_s], window[AT.p99_s] = sample.p50_s, sample.p95_s, sample.p99_s
    window[AT.violation_rate], window[AT.sample] = sample.violation_rate, sample.size
    window[AT.offered_qps], window[AT.completed_qps] = sample.arrived / length_s, sample.completed / length_s
    window[AT.mean_items], window[AT.backlog] = sample.mean_items, sample.backlog
    window[AT.cpu_utilisation], window[AT.accelerator_utilisation] = shares[CPU], shares[ACCELERATOR]
    window[AT.energy_j] = joules
    query = 0
    while query < held - open_ and completed_s[query] < end_s:
        query += 1
    state.counts[OPEN] += query
