"""Batches of the event kernel (rule 17): requests of several queries that an accelerator serves together."""

from __future__ import annotations

import math

from deeprec_env.jit import compiled
from deeprec_env.latency.service_times import request_s
from deeprec_env.scenario.setting import PLAN
from deeprec_env.simulation.arrays import NodeArrays, NodeState
from deeprec_env.simulation.event_heap import NO_SERVER, PLACES, TIMERS, rise
from deeprec_env.simulation.event_queue import mean_work_s
from deeprec_env.simulation.event_servers import take
from deeprec_env.simulation.event_state import DUE, EventState
from deeprec_env.simulation.prediction import whole_ns
from deeprec_env.simulation.slow_phases import factor_for
from deeprec_env.workload.noise import uniform


@compiled
def start_batches(node: NodeArrays, state: NodeState, events: EventState, pool: int, now_s: float) -> None:
    """Let the free servers of a pool look at its queue, one after another: each starts the longest prefix that fits.

    It does so if the prefix is full, or if a request has waited for long enough; else a timer is set for the first that
    will have.
    """
    queue, most, wait_s = events.queue[pool], node.batch_items[pool], node.max_wait_s[pool]
    stage, pools, parts = pool // 2, events.pools, events.parts
    while pools[pool].busy < node.servers[pool] and pools[pool].head < pools[pool].tail:
        begin, after = pools[pool].head, pools[pool].tail
        end, total = begin + 1, parts[queue[begin]].small_items
        while end < after and total + parts[queue[end]].small_items <= most:
            total += parts[queue[end]].small_items
            end += 1
        if total < most and end == after:  # not full
            ends_s = math.inf
            for at in range(begin, after):
                ends_s = min(ends_s, state.entry_s[stage, queue[at]] + wait_s)
            if ends_s > now_s:
                if not pools[pool].timed:
                    rise(events.due_s, events.event, events.counts[DUE], ends_s, TIMERS + pool)
                    events.counts[DUE] += 1
                    pools[pool].timed = True
                return
        serve_batch(node, state, events, pool, begin, end, total, now_s)


@compiled
def serve_batch(
    node: NodeArrays, state: NodeState, events: EventState, pool: int, begin: int, end: int, total: int, now_s: float
) -> None:
    """Start the requests `begin` to before `end` of a pool's queue, of `total` items, on a free server."""
    stage, carrier = pool // 2, events.queue[pool, begin]
    pools, parts, extra_s = events.pools, events.parts, node.overhead_s[pool // 2]
    pools[pool].busy += 1
    busy, plan = pools[pool].busy, int(state.setting[carrier, PLAN])
    service_s = request_s(node.latency[plan, pool], total, uniform(parts[carrier].key, 0))
    takes_s = service_s * node.slowdown[pool, busy]
    if node.slowed[pool]:
        entry_s = state.entry_s[stage, carrier]
        takes_s = takes_s * factor_for(node.slowness, state.phases, pool, entry_s, now_s)
    ends_s = now_s + (takes_s + extra_s)
    expected_s = mean_work_s(plan, pool, total, busy, node.mean_s, node.slowdown, extra_s)
    server = take(pool, node.servers[pool], busy, now_s, expected_s, events.server, events.started_s, events.expected_s)
    for at in range(begin, end):
        query = events.queue[pool, at]
        request, own_plan = state.first[stage, query], int(state.setting[query, PLAN])
        state.base_s[stage, request] = service_s if at == begin else 0.0
        state.start_s[stage, request], state.end_s[stage, request] = now_s, ends_s
        state.carries[stage, request] = at == begin
        parts[query].started += 1
        pools[pool].waiting -= 1
        items = parts[query].small_items
        mean_s = mean_work_s(own_plan, pool, items, 1, node.mean_s, node.slowdown, extra_s)
        pools[pool].waiting_ns -= whole_ns(mean_s, 1)
        event = query * PLACES + (server if at == begin else NO_SERVER)
        rise(events.due_s, events.event, events.counts[DUE], ends_s, event)
        events.counts[DUE] += 1
    pools[pool].head = end
