"""The compiled node event by event (rules 5 to 8, 13 to 17): for nodes whose requests are not decided when they enter.

It takes the place of `node.serve_until` over the same arrays. The service time of a request is drawn when it starts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.latency.service_times import request_s
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import ADMIT_MS, PLAN, SettingNumbers
from deeprec_env.simulation.arrays import ACCELERATOR, CPU, HELD, NodeArrays, NodeState
from deeprec_env.simulation.event_batching import start_batches
from deeprec_env.simulation.event_forecast import query_forecast_s, slack_s, stage_forecast_s
from deeprec_env.simulation.event_heap import ENTRIES, NO_SERVER, PLACES, TIMERS, drop_first, renumbered, rise
from deeprec_env.simulation.event_queue import is_accelerator, join, left_ns, mean_work_s, sort_queues
from deeprec_env.simulation.event_state import ARRIVED, DUE, SORTED, TURN, EventState
from deeprec_env.simulation.node import due, enter, forget, hold, requests_needed
from deeprec_env.simulation.prediction import whole_ns
from deeprec_env.simulation.splitting import cut, rule_at, rule_of, setting_numbers, share, split_queries
from deeprec_env.simulation.window_metrics import close_window
from deeprec_env.simulation.windows import AT
from deeprec_env.workload.noise import key_of, uniform

_LAST = 1 << 60
"""A sub-batch's number that no other is above."""


@compiled
def admit_unserved(
    node: NodeArrays,
    state: NodeState,
    events: EventState,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    setting: SettingNumbers,
) -> None:
    """Take queries in that are to arrive: split them at every stage (rule 4), as on the CPU where it is not decided."""
    for stage in range(len(node.overhead_s)):
        offloaded, first = split_queries(rule_at(node, stage, setting), items, node.sub_batches)
        hold(node, state, stage, offloaded, first)
    held = state.counts[HELD]
    events.noise_key[held : held + len(items)] = noise_key
    enter(node, state, arrival_s, items, query, setting)


@compiled
def give_up(state: NodeState, stage: int, begin: int, end: int) -> None:
    """Let requests that there is room for not come about."""
    for request in range(begin, end):
        state.start_s[stage, request] = -math.inf
        state.end_s[stage, request] = -math.inf


@compiled
def shed(state: NodeState, query: int) -> None:
    """Refuse a query, of one sub-batch, that arrives."""
    for stage in range(len(state.first)):
        give_up(state, stage, state.first[stage, query], state.first[stage, query + 1])
        state.entry_s[stage, query] = state.leave_s[stage, query] = math.nan


@compiled
def send(
    node: NodeArrays, state: NodeState, events: EventState, now_s: float, stage: int, order: int, query: int, items: int
) -> None:
    """Decide by prediction whether a query, of one sub-batch, that enters a stage goes to its accelerator (rule 15)."""
    setting, arrived_s = setting_numbers(state.setting, query), state.arrival_s[query]
    away, _ = stage_forecast_s(node, state, events, now_s, stage, order, setting, arrived_s, items, query)
    if away:
        state.offloaded[stage, query] = True
        give_up(state, stage, state.first[stage, query] + 1, state.first[stage, query + 1])


@compiled
def serve_events(node: NodeArrays, state: NodeState, events: EventState, order: int, until_s: float) -> None:
    """Let all happen that is due before `until_s`, in the order of rule 6; `order` is that of the queues (rule 14).

    One function and local names for what every node does: a look at an array in a tuple, or its way to another
    function, counts references, and a few of these cost as much as an event.
    """
    stages, pools, each = len(node.overhead_s), len(node.servers), node.sub_batches
    servers, slowdown, latency, batch_items = node.servers, node.slowdown, node.latency, node.batch_items
    overhead_s, transfer_s = node.overhead_s, node.transfer_s
    entering, fewest, whole = node.entering, node.fewest, node.whole
    arrival_s, items_of, query_number, setting = state.arrival_s, state.items, state.query, state.setting
    entry_s, leave_s, offloaded, first = state.entry_s, state.leave_s, state.offloaded, state.first
    base_s, start_s, end_s, carries = state.base_s, state.start_s, state.end_s, state.carries
    times_s, numbers, noise_key, idle = events.due_s, events.event, events.noise_key, events.idle
    busy, head, tail, queue = events.busy, events.head, events.tail, events.queue
    stage_of, key, requests, large = events.stage, events.key, events.requests, events.large
    large_items, small_items = events.large_items, events.small_items
    started, unfinished, turn = events.started, events.unfinished, events.turn
    held, arrived, due = state.counts[HELD], events.counts[ARRIVED], events.counts[DUE]
    predicts = not node.decided_on_entry  # and looks at more than the order of entry
    if order != events.counts[SORTED]:
        sort_queues(events, order)
    now_s = -math.inf
    unsettled = False  # whether something has happened at `now_s` since servers last looked at their queues
    while True:
        arrives_s = arrival_s[arrived] if arrived < held else math.inf
        due_s = times_s[0] if due > 0 else math.inf
        next_s = min(arrives_s, due_s)

        # Starts, when nothing else is left of this instant: free servers take requests from the head of the queue.
        if unsettled and next_s > now_s:
            unsettled = False
            for pool in range(pools):
                at_work, place, after = busy[pool], head[pool], tail[pool]
                if at_work == servers[pool] or place == after:
                    continue
                if batch_items[pool] > 0:
                    events.counts[DUE] = due
                    start_batches(node, state, events, pool, now_s)
                    due = events.counts[DUE]
                    if times_s[0] == now_s:
                        break
                    continue
                stage = pool // 2
                while at_work < servers[pool] and place < after:
                    part = queue[pool, place]
                    query = part if each == 1 else part // each
                    request = first[stage, part] + started[part]
                    items = large_items[part] if started[part] < large[part] else small_items[part]
                    u = uniform(key[part], request - first[stage, query * each])
                    server = idle[pool, at_work]
                    at_work += 1
                    plan = int(setting[query, PLAN])
                    service_s = request_s(latency[plan, pool], items, u)
                    ends_s = now_s + (service_s * slowdown[pool, at_work] + overhead_s[stage])
                    base_s[stage, request], start_s[stage, request], end_s[stage, request] = service_s, now_s, ends_s
                    rise(times_s, numbers, due, ends_s, part * PLACES + server)
                    due += 1
                    if predicts:
                        events.started_s[pool, server] = now_s
                        events.expected_s[pool, server] = mean_work_s(node, plan, pool, items, at_work)
                        events.waiting[pool] -= 1
                        events.waiting_ns[pool] -= whole_ns(mean_work_s(node, plan, pool, items, 1), 1)
                        if len(carries) > 0 and len(carries[0]) > 0:
                            carries[stage, request] = True
                    started[part] += 1
                    if started[part] == requests[part]:
                        place += 1
                busy[pool], head[pool] = at_work, place
                if times_s[0] == now_s:  # a service too short for the clock to see
                    break
            continue
        if next_s >= until_s:
            break
        now_s, unsettled = next_s, True

        # What happens next: the sub-batches `begin` to before `end` go on to `stage`, or enter it.
        enters = False
        if due_s <= arrives_s:
            event = numbers[0]
            due -= 1
            drop_first(times_s, numbers, due)
            if event >= TIMERS:
                events.timed[event - TIMERS] = False
                continue
            if event < ENTRIES:
                begin, server = event // PLACES, event % PLACES
                stage = stage_of[begin]
                if server != NO_SERVER:
                    pool = 2 * stage + (ACCELERATOR if offloaded[stage, begin] else CPU)
                    busy[pool] -= 1
                    idle[pool, busy[pool]] = server
                    if predicts:
                        events.started_s[pool, server] = events.expected_s[pool, server] = 0.0
                unfinished[begin] -= 1
                if unfinished[begin] > 0:
                    continue
                leave_s[stage, begin] = now_s
                stage += 1
            else:
                begin, enters = (event - ENTRIES) // PLACES, True
                stage = stage_of[begin]
            end = begin + 1
        else:
            begin, end, stage = arrived * each, (arrived + 1) * each, 0
            arrived += 1
            if predicts and setting[arrived - 1, ADMIT_MS] < math.inf:
                in_force = setting_numbers(setting, begin)
                predicted_s = query_forecast_s(node, state, events, now_s, order, in_force, items_of[begin], begin)
                if predicted_s > in_force.admit_ms * 1e-3:
                    shed(state, begin)
                    continue

        for part in range(begin, end):
            to = stage
            if not enters:
                while to < stages and first[to, part] == first[to, part + 1]:  # no work for it
                    entry_s[to, part] = leave_s[to, part] = now_s
                    to += 1
                if to == stages:
                    continue
                stage_of[part] = to
                entry_s[to, part] = now_s + transfer_s[to]
                if stage > 0 or transfer_s[to] > 0.0:  # else it arrives, after all entries of this instant
                    rise(times_s, numbers, due, entry_s[to, part], ENTRIES + part * PLACES)
                    due += 1
                    continue
            # It joins the queue of a pool with all its requests.
            query = part if each == 1 else part // each
            in_force = setting_numbers(setting, query)
            rule = rule_of(entering, fewest, whole, servers, each, to, in_force)
            n = min(items_of[query], rule.most_items)
            if rule.predicted:
                send(node, state, events, now_s, to, order, query, n)
            away = offloaded[to, part]
            pool = 2 * to + (ACCELERATOR if away else CPU)
            key[part] = key_of(noise_key[query], np.uint64(to), query_number[query])
            parts = cut(rule, share(n, min(rule.most_parts, n), part - query * each), away)
            requests[part], large[part] = parts.requests, parts.large
            large_items[part], small_items[part] = parts.large_items, parts.small_items
            started[part], unfinished[part] = 0, parts.requests
            if predicts:
                turn[part] = events.counts[TURN]
                events.counts[TURN] += 1
                events.size[part] = n
                events.slack_s[part] = slack_s(node, int(in_force.plan), pool, parts, arrival_s[query])
                events.waiting[pool] += parts.requests
                events.waiting_ns[pool] += left_ns(node, state, events, pool, part, 1)
                join(events, pool, order, part)
            else:
                queue[pool, tail[pool]] = part
                tail[pool] += 1
    events.counts[ARRIVED], events.counts[DUE] = arrived, due


@compiled
def forget_events(node: NodeArrays, state: NodeState, events: EventState, keep: NDArray[np.bool_]) -> None:
    """`node.forget` for a node that is served event by event."""
    each, held = node.sub_batches, len(keep)
    place = np.cumsum(keep) - 1
    for at in range(events.counts[DUE]):  # the order of the sub-batches stays, so the heap is one still
        events.event[at] = renumbered(events.event[at], place, each)
    for pool in range(len(node.servers)):
        waiting = events.tail[pool] - events.head[pool]
        for at in range(waiting):
            part = events.queue[pool, events.head[pool] + at]
            events.queue[pool, at] = place[part // each] * each + part % each
        events.head[pool], events.tail[pool] = 0, waiting
    for query in range(held):
        if not keep[query]:
            events.counts[ARRIVED] -= 1
            continue
        events.noise_key[place[query]] = events.noise_key[query]
        for position in range(each):
            part, at = query * each + position, place[query] * each + position
            events.stage[at], events.key[at] = events.stage[part], events.key[part]
            events.requests[at], events.large[at] = events.requests[part], events.large[part]
            events.large_items[at], events.small_items[at] = events.large_items[part], events.small_items[part]
            events.started[at], events.unfinished[at] = events.started[part], events.unfinished[part]
            events.turn[at], events.size[at] = events.turn[part], events.size[part]
            events.slack_s[at] = events.slack_s[part]
    forget(node, state, keep)


@compiled
def advance_events(
    node: NodeArrays,
    state: NodeState,
    events: EventState,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    setting: SettingNumbers,
    until_s: float,
) -> tuple[int, int]:
    """`node.advance`, event by event; there has to be room in both memories."""
    begin, end = due(state, arrival_s, until_s)
    if end > begin:
        queries = state.counts[HELD] + end - begin
        requests = requests_needed(node, state, items[begin:end], setting)
        if queries > min(len(state.arrival_s), len(events.noise_key)) or requests > state.base_s.shape[1]:
            return queries, requests
        ahead = arrival_s[begin:end], items[begin:end], query[begin:end]
        admit_unserved(node, state, events, noise_key, ahead[0], ahead[1], ahead[2], setting)
    serve_events(node, state, events, int(setting.order), until_s)
    return 0, 0


@compiled
def watch(
    node: NodeArrays, state: NodeState, events: EventState, setting: SettingNumbers, end_s: float, window: Floats
) -> None:
    """Write into a window what waits at its end, and the predicted latency of a query of median size."""
    for pool in range(len(node.servers)):
        window[AT.waiting_accelerator if is_accelerator(pool) else AT.waiting_cpu] += events.waiting[pool]
    if node.sub_batches == 1:
        order, items = int(setting.order), node.median_items
        window[AT.predicted_s] = query_forecast_s(node, state, events, end_s, order, setting, items, _LAST)


@compiled
def run_window_events(
    node: NodeArrays,
    state: NodeState,
    events: EventState,
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
    """`advance_events` up to `end_s` under a setting, then `close_window`; returns what `advance_events` does."""
    needed = advance_events(node, state, events, noise_key, arrival_s, items, query, setting, end_s)
    if needed[0] == 0:
        close_window(node, state, begin_s, end_s, sla_s, window)
        if not node.decided_on_entry:
            watch(node, state, events, setting, end_s, window)
    return needed
