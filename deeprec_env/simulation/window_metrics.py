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
from deeprec_env.simulation.ascending import sort_times
from deeprec_env.simulation.kernels import busy_seconds, last_leave_s
from deeprec_env.simulation.windows import AT, BACKLOG, PER_STAGE, stage_place

_FIRST_STAGE = stage_place(0)


class Sample(NamedTuple):
    """A window's sample and counts: percentiles in seconds, 0 of an empty sample, and the mean items of arrivals.

    `within`: how many of the sample are within the target. `shed_rate`: the share of the arrivals that were shed, which
    are no part of the sample, but of the violation rate.
    """

    p50_s: float
    p95_s: float
    p99_s: float
    violation_rate: float
    size: int
    arrived: int
    completed: int
    mean_items: float
    backlog: int
    within: int
    shed_rate: float


@compiled
def percentile(one: Floats, other: Floats, level: float) -> float:
    """Percentile of two ascending arrays together, `level` 0 to 1, by linear interpolation: NumPy's to the bit.

    They are not both empty.
    """
    last = len(one) + len(other) - 1
    place = level * last
    below = math.floor(place)
    low, high = smallest(one, other, below), smallest(one, other, min(below + 1, last))
    along = place - below
    if along >= 0.5:
        return float(high - (high - low) * (1.0 - along))
    return float(low + (high - low) * along)


@compiled
def smallest(one: Floats, other: Floats, rank: int) -> float:
    """The value of rank 0, 1, ... in two ascending arrays together, which hold more than that."""
    least, most = max(0, rank + 1 - len(other)), min(rank + 1, len(one))
    while least < most:  # how many of the rank + 1 smallest are of the first array
        middle = (least + most) // 2
        if one[middle] < other[rank - middle]:
            least = middle + 1
        else:
            most = middle
    if least == 0:
        return float(other[rank])
    if least == rank + 1:
        return float(one[rank])
    return float(max(one[least - 1], other[rank - least]))


@compiled
def measure_sample(
    arrival_s: Floats, items: Ints, completion_s: Floats, begin_s: float, end_s: float, sla_s: float
) -> Sample:
    """The sample of [begin_s, end_s), from queries that hold every one in flight during it.

    It is the latency of every query that completed in the window, and the age of every query in flight at its end that
    is older than `sla_s`. Queries that were shed complete at NaN.
    """
    count = len(arrival_s)
    times_s = np.empty(count)  # ages from its front on, latencies from its end
    arrived = arrived_items = completed = backlog = old = late = shed = 0
    for query in range(count - 1, -1, -1):
        if arrival_s[query] < begin_s:  # and so did all before it
            break
        if arrival_s[query] < end_s:
            arrived += 1
            arrived_items += items[query]
            shed += completion_s[query] != completion_s[query]
    for query in range(count - 1, -1, -1):  # from the last arrival on, so that ages ascend
        in_flight = completion_s[query] >= end_s
        age_s = end_s - arrival_s[query]
        times_s[old] = age_s  # free while this query's latency is still to come
        backlog += in_flight
        old += in_flight & (age_s > sla_s)
        if not in_flight and completion_s[query] >= begin_s:
            completed += 1
            latency_s = completion_s[query] - arrival_s[query]
            times_s[count - completed] = latency_s
            late += latency_s > sla_s
    mean_items = arrived_items / arrived if arrived else 0.0
    size, shed_rate = completed + old, shed / arrived if arrived else 0.0
    if size == 0:
        violation_rate = 1.0 if shed else 0.0
        return Sample(0.0, 0.0, 0.0, violation_rate, size, arrived, completed, mean_items, backlog, 0, shed_rate)
    ages_s, latencies_s = times_s[:old], times_s[count - completed :]
    sort_times(latencies_s)
    p50_s, p95_s = percentile(latencies_s, ages_s, 0.5), percentile(latencies_s, ages_s, 0.95)
    p99_s, late = percentile(latencies_s, ages_s, 0.99), late + old
    violation_rate, within = (late + shed) / (size + shed), size - late
    return Sample(p50_s, p95_s, p99_s, violation_rate, size, arrived, completed, mean_items, backlog, within, shed_rate)


@compiled
def sample_by_plan(
    sample: Sample,
    arrival_s: Floats,
    completion_s: Floats,
    plan: Floats,
    plans: int,
    begin_s: float,
    end_s: float,
    sla_s: float,
) -> Ints:
    """How many queries of `measure_sample`'s sample had each plan, and how many of these were within `sla_s`.

    `plan` holds indices; returns (plans, 2).
    """
    found = np.zeros((plans, 2), dtype=np.int64)
    if plans == 1:
        found[0, 0], found[0, 1] = sample.size, sample.within
        return found
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
    stages, left = len(node.overhead_s), sample.backlog
    ahead = completed_s >= end_s if stages > 1 else np.empty(0, dtype=np.bool_)
    for stage in range(stages):
        at = _FIRST_STAGE + PER_STAGE * stage
        first = state.first[stage, begins : ends + 1]
        busy = busy_seconds(
            state.offloaded[stage, begins:ends],
            first,
            state.start_s[stage],
            state.end_s[stage],
            state.carries[stage],
            state.leave_s[stage, begins:ends],
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
        # Who is through with all stages but the last is at that.
        last = stage == stages - 1
        here = left if last else count_at_stage(ahead, first, state.end_s[stage], node.sub_batches, end_s)
        window[at + BACKLOG] = here
        left -= here
    plan, plans = state.setting[open_:held, PLAN], len(node.fewest)
    by_plan = sample_by_plan(sample, arrival_s, completed_s, plan, plans, begin_s, end_s, sla_s)
    window[_FIRST_STAGE + PER_STAGE * stages :] = by_plan.ravel()
    window[AT.begin_s], window[AT.end_s] = begin_s, end_s
    window[AT.p50_s], window[AT.p95_s], window[AT.p99_s] = sample.p50_s, sample.p95_s, sample.p99_s
    window[AT.violation_rate], window[AT.sample] = sample.violation_rate, sample.size
    window[AT.offered_qps], window[AT.completed_qps] = sample.arrived / length_s, sample.completed / length_s
    window[AT.mean_items], window[AT.backlog] = sample.mean_items, sample.backlog
    window[AT.cpu_utilisation], window[AT.accelerator_utilisation] = shares[CPU], shares[ACCELERATOR]
    window[AT.energy_j], window[AT.shed_rate] = joules, sample.shed_rate
    window[AT.waiting_cpu] = window[AT.waiting_accelerator] = window[AT.predicted_s] = 0.0
    query = 0
    while query < held - open_ and not completed_s[query] >= end_s:  # completed or shed
        query += 1
    state.counts[OPEN] += query
