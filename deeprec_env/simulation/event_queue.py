"""Queues of the event kernel, in the order of service (rule 14), and the work that goes before a sub-batch.

Arrays are those of `EventState`, `NodeState` and `NodeArrays` by the same names, one by one: a look at an array in a
tuple counts references, which here would cost more than the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import ORDERS, PLAN
from deeprec_env.simulation.event_state import SORTED, EventState
from deeprec_env.simulation.prediction import whole_ns

Pools = NDArray[Any]  # of `event_state.POOL`
Parts = NDArray[Any]  # of `event_state.PART`

FCFS, SMALL_FIRST, LEAST_SLACK = map(ORDERS.index, ("fcfs", "small-first", "least-slack"))


@compiled
def rank(order: int, parts: Parts, part: int) -> float:
    """By what a sub-batch that waits is sorted; of equal ranks the one with the lower number goes first."""
    if order == SMALL_FIRST:
        return float(parts[part].size)
    if order == LEAST_SLACK:
        return float(parts[part].slack_s)
    return float(parts[part].turn)


@compiled
def join(pools: Pools, queue: Ints, pool: int, order: int, parts: Parts, part: int) -> None:
    """Put a sub-batch into the queue of a pool."""
    begin, at = pools[pool].head, pools[pool].tail
    if order != FCFS:
        own = rank(order, parts, part)
        while at > begin:
            other = queue[pool, at - 1]
            theirs = rank(order, parts, other)
            if theirs < own or (theirs == own and other < part):
                break
            queue[pool, at] = other
            at -= 1
    queue[pool, at] = part
    pools[pool].tail += 1


@compiled
def sort_queues(events: EventState, order: int) -> None:
    """Sort all queues anew for another order."""
    events.counts[SORTED] = order
    for pool in range(len(events.pools)):
        begin, end = events.pools[pool].head, events.pools[pool].tail
        waiting = np.sort(events.queue[pool, begin:end])
        ranks = np.empty(len(waiting))
        for at in range(len(waiting)):
            ranks[at] = rank(order, events.parts, waiting[at])
        events.queue[pool, begin:end] = waiting[np.argsort(ranks, kind="mergesort")]


@compiled
def mean_work_s(
    plan: int, pool: int, items: int, busy: int, mean_s: Floats, slowdown: Floats, overhead_s: float
) -> float:
    """Mean service of a request, with the slow-down by so many busy servers of its pool, and the stage's overhead."""
    return float(mean_s[plan, pool, items] * slowdown[pool, busy] + overhead_s)


@compiled
def left_ns(
    parts: Parts, part: int, plan: int, pool: int, busy: int, mean_s: Floats, slowdown: Floats, overhead_s: float
) -> int:
    """The mean work of a waiting sub-batch's requests that have not started, in whole nanoseconds."""
    total, waits = 0, parts[part]
    if waits.started < waits.large:
        large_s = mean_work_s(plan, pool, waits.large_items, busy, mean_s, slowdown, overhead_s)
        total += whole_ns(large_s, waits.large - waits.started)
    small_s = mean_work_s(plan, pool, waits.small_items, busy, mean_s, slowdown, overhead_s)
    return total + whole_ns(small_s, waits.requests - max(waits.started, waits.large))


@compiled
def ahead(
    pools: Pools,
    queue: Ints,
    pool: int,
    order: int,
    own: float,
    part: int,
    parts: Parts,
    each: int,
    setting: Floats,
    batches: bool,
    mean_s: Floats,
    slowdown: Floats,
    overhead_s: float,
) -> tuple[int, int]:
    """What waits in a pool's queue before a sub-batch of rank `own`, which goes after all under FCFS.

    Its mean work in whole nanoseconds, with the slow-down of now, and 0; of a pool that batches, 0 and its items.
    """
    work_ns = items = np.int64(0)
    busy = max(1, pools[pool].busy)
    for at in range(pools[pool].head, pools[pool].tail):
        other = queue[pool, at]
        if order != FCFS:
            theirs = rank(order, parts, other)
            if theirs > own or (theirs == own and other > part):
                break
        if batches:
            items += parts[other].small_items
        else:
            plan = int(setting[other // each, PLAN])
            work_ns += left_ns(parts, other, plan, pool, busy, mean_s, slowdown, overhead_s)
    return work_ns, items  # type: ignore[return-value]
