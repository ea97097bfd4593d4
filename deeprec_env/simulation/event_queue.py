"""Queues of the event kernel, in the order of service (rule 14), and the work that goes before a sub-batch.

Arrays are those of `EventState` and `NodeArrays` by the same names, one by one: a look at an array in a tuple counts
references, which here would cost more than the work.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import ORDERS, PLAN
from deeprec_env.simulation.event_state import SORTED, EventState
from deeprec_env.simulation.prediction import whole_ns

FCFS, SMALL_FIRST, LEAST_SLACK = map(ORDERS.index, ("fcfs", "small-first", "least-slack"))


@compiled
def rank(order: int, part: int, turn: Ints, size: Ints, slack_s: Floats) -> float:
    """By what a sub-batch that waits is sorted; of equal ranks the one with the lower number goes first."""
    if order == SMALL_FIRST:
        return float(size[part])
    if order == LEAST_SLACK:
        return float(slack_s[part])
    return float(turn[part])


@compiled
def join(
    queue: Ints, head: Ints, tail: Ints, pool: int, order: int, part: int, turn: Ints, size: Ints, slack_s: Floats
) -> None:
    """Put a sub-batch into the queue of a pool."""
    begin, at = head[pool], tail[pool]
    if order != FCFS:
        own = rank(order, part, turn, size, slack_s)
        while at > begin:
            other = queue[pool, at - 1]
            theirs = rank(order, other, turn, size, slack_s)
            if theirs < own or (theirs == own and other < part):
                break
            queue[pool, at] = other
            at -= 1
    queue[pool, at] = part
    tail[pool] += 1


@compiled
def sort_queues(events: EventState, order: int) -> None:
    """Sort all queues anew for another order."""
    events.counts[SORTED] = order
    for pool in range(len(events.head)):
        waiting = np.sort(events.queue[pool, events.head[pool] : events.tail[pool]])
        ranks = np.empty(len(waiting))
        for at in range(len(waiting)):
            ranks[at] = rank(order, waiting[at], events.turn, events.size, events.slack_s)
        events.queue[pool, events.head[pool] : events.tail[pool]] = waiting[np.argsort(ranks, kind="mergesort")]


@compiled
def mean_work_s(
    plan: int, pool: int, items: int, busy: int, mean_s: Floats, slowdown: Floats, overhead_s: Floats
) -> float:
    """Mean service of a request, with the slow-down by so many busy servers of its pool, and the stage's overhead."""
    return float(mean_s[plan, pool, items] * slowdown[pool, busy] + overhead_s[pool // 2])


@compiled
def left_ns(
    part: int,
    plan: int,
    pool: int,
    busy: int,
    requests: Ints,
    large: Ints,
    large_items: Ints,
    small_items: Ints,
    started: Ints,
    mean_s: Floats,
    slowdown: Floats,
    overhead_s: Floats,
) -> int:
    """The mean work of a waiting sub-batch's requests that have not started, in whole nanoseconds."""
    total = 0
    if started[part] < large[part]:
        large_s = mean_work_s(plan, pool, large_items[part], busy, mean_s, slowdown, overhead_s)
        total += whole_ns(large_s, large[part] - started[part])
    small_s = mean_work_s(plan, pool, small_items[part], busy, mean_s, slowdown, overhead_s)
    return total + whole_ns(small_s, requests[part] - max(started[part], large[part]))


@compiled
def ahead(
    pool: int,
    order: int,
    own: float,
    part: int,
    each: int,
    setting: Floats,
    batch_items: Ints,
    contended: NDArray[np.bool_],
    mean_s: Floats,
    slowdown: Floats,
    overhead_s: Floats,
    busy: Ints,
    waiting_ns: Ints,
    queue: Ints,
    head: Ints,
    tail: Ints,
    requests: Ints,
    large: Ints,
    large_items: Ints,
    small_items: Ints,
    started: Ints,
    turn: Ints,
    size: Ints,
    slack_s: Floats,
) -> tuple[int, int]:
    """What waits in a pool's queue before a sub-batch of rank `own`, which goes after all under FCFS.

    Its mean work in whole nanoseconds, with the slow-down of now, and 0; of a pool that batches, 0 and its items.
    """
    batches, at_work = batch_items[pool] > 0, max(1, busy[pool])
    if order == FCFS and not batches and not contended[pool]:
        return waiting_ns[pool], np.int64(0)  # type: ignore[return-value]
    work_ns = items = np.int64(0)
    for at in range(head[pool], tail[pool]):
        other = queue[pool, at]
        if order != FCFS:
            theirs = rank(order, other, turn, size, slack_s)
            if theirs > own or (theirs == own and other > part):
                break
        if batches:
            items += small_items[other]
        else:
            plan = int(setting[other // each, PLAN])
            work_ns += left_ns(
                other, plan, pool, at_work, requests, large, large_items, small_items, started,
                mean_s, slowdown, overhead_s,
            )  # fmt: skip
    return work_ns, items  # type: ignore[return-value]
