"""The compiled node event by event (rules 5 to 8): for nodes whose requests are not decided when they enter.

It takes the place of `node.serve_until` over the same arrays. The service time of a request is drawn when it starts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.latency.service_times import request_s
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import PLAN, SettingNumbers
from deeprec_env.simulation.arrays import ACCELERATOR, CPU, HELD, NodeArrays, NodeState
from deeprec_env.simulation.event_state import ARRIVED, DUE, EventState
from deeprec_env.simulation.node import due, enter, forget, hold, requests_needed
from deeprec_env.simulation.splitting import rule_at, rule_of, setting_numbers, share, split_queries
from deeprec_env.simulation.window_metrics import close_window
from deeprec_env.workload.noise import key_of, uniform

ENTRIES = 1 << 48
"""Events from this number on are entries: of one instant they come after the completions, each kind by sub-batch.

Completions of the same sub-batch at one instant are equal; so are their effects.
"""


@compiled
def rise(times_s: Floats, numbers: Ints, hole: int, due_s: float, event: int) -> None:
    """Fill a hole at the bottom of the heap with an event, which rises as far as it must."""
    while hole > 0:
        above = (hole - 1) >> 1
        if times_s[above] < due_s or (times_s[above] == due_s and numbers[above] <= event):
            break
        times_s[hole], numbers[hole] = times_s[above], numbers[above]
        hole = above
    times_s[hole], numbers[hole] = due_s, event


@compiled
def drop_first(times_s: Floats, numbers: Ints, last: int) -> None:
    """Take the first event from the heap, whose last one is at `last`.

    The last one, which takes its place, is most often among the latest: so the hole sinks to the bottom before it is
    compared, and rises again where it must.
    """
    hole, child = 0, 1
    while child + 1 < last:
        left_s, right_s = times_s[child], times_s[child + 1]
        child += (right_s < left_s) | ((right_s == left_s) & (numbers[child + 1] < numbers[child]))
        times_s[hole], numbers[hole] = times_s[child], numbers[child]
        hole, child = child, 2 * child + 1
    if child < last:
        times_s[hole], numbers[hole] = times_s[child], numbers[child]
        hole = child
    rise(times_s, numbers, hole, times_s[last], numbers[last])


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
    """Take queries in that are to arrive: split them at every stage (rule 4)."""
    for stage in range(len(node.overhead_s)):
        offloaded, first = split_queries(rule_at(node, stage, setting), items, node.sub_batches)
        hold(node, state, stage, offloaded, first)
    held = state.counts[HELD]
    events.noise_key[held : held + len(items)] = noise_key
    enter(node, state, arrival_s, items, query, setting)


@compiled
def serve_events(node: NodeArrays, state: NodeState, events: EventState, until_s: float) -> None:
    """Let all happen that is due before `until_s`, in the order of rule 6.

    One function and local names: a look at an array in a tuple, or its way to another function, counts references, and
    a few of these cost as much as an event.
    """
    stages, pools, each = len(node.overhead_s), len(node.servers), node.sub_batches
    servers, slowdown, latency = node.servers, node.slowdown, node.latency
    overhead_s, transfer_s = node.overhead_s, node.transfer_s
    entering, fewest, whole = node.entering, node.fewest, node.whole
    arrival_s, items_of, query_number, setting = state.arrival_s, state.items, state.query, state.setting
    entry_s, leave_s, offloaded, first = state.entry_s, state.leave_s, state.offloaded, state.first
    base_s, start_s, end_s = state.base_s, state.start_s, state.end_s
    times_s, numbers, noise_key = events.due_s, events.event, events.noise_key
    busy, head, tail, queue = events.busy, events.head, events.tail, events.queue
    stage_of, key, largest, items_left = events.stage, events.key, events.largest, events.items
    started, unfinished = events.started, events.unfinished
    held, arrived, due = state.counts[HELD], events.counts[ARRIVED], events.counts[DUE]
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
                stage = pool // 2
                while at_work < servers[pool] and place < after:
                    part = queue[pool, place]
                    query = part if each == 1 else part // each
                    request = first[stage, part] + started[part]
                    items = min(items_left[part], largest[part])
                    u = uniform(key[part], request - first[stage, query * each])
                    at_work += 1
                    service_s = request_s(latency[np.int64(setting[query, PLAN]), pool], items, u)
                    ends_s = now_s + (service_s * slowdown[pool, at_work] + overhead_s[stage])
                    base_s[stage, request], start_s[stage, request], end_s[stage, request] = service_s, now_s, ends_s
                    rise(times_s, numbers, due, ends_s, part)
                    due += 1
                    items_left[part] -= items
                    started[part] += 1
                    if request + 1 == first[stage, part + 1]:
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
            begin = numbers[0]
            due -= 1
            drop_first(times_s, numbers, due)
            if begin < ENTRIES:
                stage = stage_of[begin]
                busy[2 * stage + (ACCELERATOR if offloaded[stage, begin] else CPU)] -= 1
                unfinished[begin] -= 1
                if unfinished[begin] > 0:
                    continue
                leave_s[stage, begin] = now_s
                stage += 1
            else:
                begin, enters = begin - ENTRIES, True
                stage = stage_of[begin]
            end = begin + 1
        else:
            begin, end, stage = arrived * each, (arrived + 1) * each, 0
            arrived += 1

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
                    rise(times_s, numbers, due, entry_s[to, part], ENTRIES + part)
                    due += 1
                    continue
            # It joins the queue of a pool with all its requests.
            query = part if each == 1 else part // each
            rule = rule_of(entering, fewest, whole, servers, each, to, setting_numbers(setting, query))
            n = min(items_of[query], rule.most_items)
            away = offloaded[to, part]
            pool = 2 * to + (ACCELERATOR if away else CPU)
            key[part] = key_of(noise_key[query], np.uint64(to), query_number[query])
            items_left[part] = share(n, min(rule.most_parts, n), part - query * each)
            largest[part] = items_left[part] if away else rule.largest
            started[part], unfinished[part] = 0, first[to, part + 1] - first[to, part]
            queue[pool, tail[pool]] = part
            tail[pool] += 1
    events.counts[ARRIVED], events.counts[DUE] = arrived, due


@compiled
def forget_events(node: NodeArrays, state: NodeState, events: EventState, keep: NDArray[np.bool_]) -> None:
    """`node.forget` for a node that is served event by event."""
    each, held = node.sub_batches, len(keep)
    place = np.cumsum(keep) - 1
    for at in range(events.counts[DUE]):  # the order of the sub-batches stays, so the heap is one still
        entry = events.event[at] >= ENTRIES
        part = events.event[at] - (ENTRIES if entry else 0)
        events.event[at] = place[part // each] * each + part % each + (ENTRIES if entry else 0)
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
            events.largest[at], events.items[at] = events.largest[part], events.items[part]
            events.started[at], events.unfinished[at] = events.started[part], events.unfinished[part]
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
    serve_events(node, state, events, until_s)
    return 0, 0


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
    return needed
