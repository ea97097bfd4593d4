"""Queues of the event kernel, in the order of service (rule 14), and the work that goes before a sub-batch."""

from __future__ import annotations

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.setting import ORDERS
from deeprec_env.simulation.arrays import ACCELERATOR, NodeArrays, NodeState
from deeprec_env.simulation.event_state import SORTED, EventState
from deeprec_env.simulation.prediction import whole_ns
from deeprec_env.simulation.splitting import setting_numbers

FCFS, SMALL_FIRST, LEAST_SLACK = map(ORDERS.index, ("fcfs", "small-first", "least-slack"))


@compiled
def rank(events: EventState, order: int, part: int) -> float:
    """By what a sub-batch that waits is sorted; of equal ranks the one with the lower number goes first."""
    if order == SMALL_FIRST:
        return float(events.size[part])
    if order == LEAST_SLACK:
        return float(events.slack_s[part])
    return float(events.turn[part])


@compiled
def join(events: EventState, pool: int, order: int, part: int) -> None:
    """Put a sub-batch into a queue."""
    queue, head, at = events.queue[pool], events.head[pool], events.tail[pool]
    if order != FCFS:
        own = rank(events, order, part)
        while at > head:
            other = queue[at - 1]
            theirs = rank(events, order, other)
            if theirs < own or (theirs == own and other < part):
                break
            queue[at] = other
            at -= 1
    queue[at] = part
    events.tail[pool] += 1


@compiled
def sort_queues(events: EventState, order: int) -> None:
    """Sort all queues anew for another order."""
    events.counts[SORTED] = order
    for pool in range(len(events.head)):
        waiting = np.sort(events.queue[pool, events.head[pool] : events.tail[pool]])
        ranks = np.empty(len(waiting))
        for at in range(len(waiting)):
            ranks[at] = rank(events, order, waiting[at])
        events.queue[pool, events.head[pool] : events.tail[pool]] = waiting[np.argsort(ranks, kind="mergesort")]


@compiled
def mean_work_s(node: NodeArrays, plan: int, pool: int, items: int, busy: int) -> float:
    """Mean service of a request, with the slow-down by so many busy servers of its pool, and the stage's overhead."""
    return float(node.mean_s[plan, pool, items] * node.slowdown[pool, busy] + node.overhead_s[pool // 2])


@compiled
def left_ns(node: NodeArrays, state: NodeState, events: EventState, pool: int, part: int, busy: int) -> int:
    """The mean work of a waiting sub-batch's requests that have not started, in whole nanoseconds."""
    plan = int(setting_numbers(state.setting, part // node.sub_batches).plan)
    large, started = events.large[part], events.started[part]
    total = 0
    if started < large:
        total += whole_ns(mean_work_s(node, plan, pool, events.large_items[part], busy), large - started)
    small = events.requests[part] - max(started, large)
    return total + whole_ns(mean_work_s(node, plan, pool, events.small_items[part], busy), small)


@compiled
def ahead(
    node: NodeArrays, state: NodeState, events: EventState, pool: int, order: int, own: float, part: int
) -> tuple[int, int]:
    """What waits in a queue before a sub-batch of a rank, which goes after all under FCFS.

    Its mean work in whole nanoseconds, with the slow-down of now; in a pool that batches, its items instead (0 and the
    items).
    """
    batches, busy = node.batch_items[pool] > 0, max(1, events.busy[pool])
    if order == FCFS and not batches and not node.contended[pool]:
        return events.waiting_ns[pool], np.int64(0)  # type: ignore[return-value]
    work_ns = items = np.int64(0)
    for at in range(events.head[pool], events.tail[pool]):
        other = events.queue[pool, at]
        if order != FCFS:
            theirs = rank(events, order, other)
            if theirs > own or (theirs == own and other > part):
                break
        if batches:
            items += events.small_items[other]
        else:
            work_ns += left_ns(node, state, events, pool, other, busy)
    return work_ns, items  # type: ignore[return-value]


@compiled
def is_accelerator(pool: int) -> bool:
    """Whether a pool is an accelerator's."""
    return pool % 2 == ACCELERATOR
