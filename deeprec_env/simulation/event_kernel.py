"""The compiled node event by event (rules 5 to 8, 13 to 17 and 19): for nodes whose requests wait undecided.

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
from deeprec_env.simulation.event_forecast import begin_by_s, stage_forecast_s
from deeprec_env.simulation.event_heap import ENTRIES, NO_SERVER, PLACES, TIMERS, drop_first, renumbered, rise
from deeprec_env.simulation.event_queue import join, left_ns, mean_work_s, sort_queues
from deeprec_env.simulation.event_servers import release, take
from deeprec_env.simulation.event_state import ARRIVED, DUE, LEFT, SORTED, TURN, EventState
from deeprec_env.simulation.node import due, enter, forget, hold, requests_needed
from deeprec_env.simulation.prediction import whole_ns
from deeprec_env.simulation.slow_phases import factor_for
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
def has_left(leave_s: Floats, stages: int, query: int, each: int) -> bool:
    """Whether all sub-batches of a query have left the last stage."""
    return bool(leave_s[stages - 1, query * each : (query + 1) * each].max() < math.inf)


@compiled
def serve_events(node: NodeArrays, state: NodeState, events: EventState, order: int, until_s: float) -> None:
    """Let all happen that is due before `until_s`, in the order of rule 6; `order` is that of the queues (rule 14)."""
    serve_through(node, state, events, order, until_s, -math.inf, -math.inf)


@compiled
def serve_through(
    node: NodeArrays,
    state: NodeState,
    events: EventState,
    order: int,
    until_s: float,
    through_s: float,
    unsettled_s: float,
) -> float:
    """`serve_events`, where more may arrive at `until_s` than is known yet: then `through_s` is this instant too.

    All of it happens but its starts, and the instant is returned, for the next call to know as `unsettled_s`. Minus
    infinity stands for no such instant.

    One function and local names for what every node does: a look at an array in a tuple, or its way to another
    function, counts references, and a few of these cost as much as an event.
    """
    stages, each, servers = len(node.overhead_s), node.sub_batches, node.servers
    slowdown, latency, batch_items = node.slowdown, node.latency, node.batch_items
    slowed, slowness, phases = node.slowed, node.slowness, state.phases
    overhead_s, transfer_s = node.overhead_s, node.transfer_s
    entering, fewest, whole = node.entering, node.fewest, node.whole
    arrival_s, items_of, query_number, setting = state.arrival_s, state.items, state.query, state.setting
    entry_s, leave_s, offloaded, first = state.entry_s, state.leave_s, state.offloaded, state.first
    base_s, start_s, end_s, carries = state.base_s, state.start_s, state.end_s, state.carries
    times_s, numbers, noise_key = events.due_s, events.event, events.noise_key
    pools, parts, queue = events.pools, events.parts, events.queue
    server, started_s, expected_s = events.server, events.started_s, events.expected_s
    mean_s, contended, sla_s = node.mean_s, node.contended, node.sla_s
    turns = events.counts[TURN]
    held, arrived, due = state.counts[HELD], events.counts[ARRIVED], events.counts[DUE]
    predicts = not node.decided_on_entry  # and looks at more than the order of entry
    if order != events.counts[SORTED]:
        sort_queues(events, order)
    now_s = unsettled_s
    unsettled = now_s > -math.inf  # whether something has happened at `now_s` since servers last looked at their queues
    left, gone = events.left, events.counts[LEFT]
    logs = len(left) > 0
    while True:
        arrives_s = arrival_s[arrived] if arrived < held else math.inf
        due_s = times_s[0] if due > 0 else math.inf
        next_s = min(arrives_s, due_s)

        # Starts, when nothing else is left of this instant: free servers take requests from the head of the queue.
        if unsettled and next_s > now_s and now_s < until_s:
            unsettled = False
            for pool in range(len(servers)):
                at_work, place, after = pools[pool].busy, pools[pool].head, pools[pool].tail
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
                    started = parts[part].started
                    request = first[stage, part] + started
                    items = parts[part].large_items if started < parts[part].large else parts[part].small_items
                    u = uniform(parts[part].key, request - first[stage, query * each])
                    at_work += 1
                    plan = int(setting[query, PLAN])
                    service_s = request_s(latency[plan, pool], items, u)
                    takes_s = service_s * slowdown[pool, at_work]
                    if slowed[pool]:
                        takes_s = takes_s * factor_for(slowness, phases, pool, entry_s[stage, part], now_s)
                    ends_s = now_s + (takes_s + overhead_s[stage])
                    base_s[stage, request], start_s[stage, request], end_s[stage, request] = service_s, now_s, ends_s
                    number = part * PLACES
                    if predicts:
                        extra_s = overhead_s[stage]
                        expected = mean_work_s(plan, pool, items, at_work, mean_s, slowdown, extra_s)
                        number += take(pool, servers[pool], at_work, now_s, expected, server, started_s, expected_s)
                        pools[pool].waiting -= 1
                        work_s = mean_work_s(plan, pool, items, 1, mean_s, slowdown, extra_s)
                        pools[pool].waiting_ns -= whole_ns(work_s, 1)
                        if carries.size > 0:
                            carries[stage, request] = True
                    rise(times_s, numbers, due, ends_s, number)
                    due += 1
                    parts[part].started = started + 1
                    if started + 1 == parts[part].requests:
                        place += 1
                pools[pool].busy, pools[pool].head = at_work, place
                if times_s[0] == now_s:  # a service too short for the clock to see
                    break
            continue
        if next_s >= until_s and next_s > through_s:
            break
        now_s, unsettled = next_s, True

        # What happens next: the sub-batches `begin` to before `end` go on to `stage`, or enter it.
        enters = False
        if due_s <= arrives_s:
            event = numbers[0]
            due -= 1
            drop_first(times_s, numbers, due)
            if event >= TIMERS:
                pools[event - TIMERS].timed = False
                continue
            if event < ENTRIES:
                begin, number = event // PLACES, event % PLACES
                stage = parts[begin].stage
                if number != NO_SERVER:
                    pool = 2 * stage + (ACCELERATOR if offloaded[stage, begin] else CPU)
                    pools[pool].busy -= 1
                    if predicts:
                        release(pool, servers[pool], pools[pool].busy, number, server, started_s, expected_s)
                parts[begin].unfinished -= 1
                if parts[begin].unfinished > 0:
                    continue
                leave_s[stage, begin] = now_s
                stage += 1
            else:
                begin, enters = (event - ENTRIES) // PLACES, True
                stage = parts[begin].stage
            end = begin + 1
        else:
            begin, end, stage = arrived * each, (arrived + 1) * each, 0
            arrived += 1
            if predicts and setting[arrived - 1, ADMIT_MS] < math.inf:
                in_force, predicted_s = setting_numbers(setting, begin), 0.0
                for visited in range(stages):
                    n = min(items_of[begin], entering[int(in_force.plan), visited])
                    if n > 0:
                        rule = rule_of(entering, fewest, whole, servers, each, visited, in_force)
                        _, leaves_s = stage_forecast_s(
                            now_s, visited, order, rule, int(in_force.plan), now_s, n, begin, sla_s, each, setting,
                            servers, batch_items, contended, mean_s, slowdown, overhead_s[visited], pools, started_s,
                            expected_s, queue, parts,
                        )  # fmt: skip
                        predicted_s += transfer_s[visited] + leaves_s
                if predicted_s > in_force.admit_ms * 1e-3:
                    shed(state, begin)
                    if logs:
                        left[gone] = begin
                        gone += 1
                    continue

        for part in range(begin, end):
            to = stage
            if not enters:
                while to < stages and first[to, part] == first[to, part + 1]:  # no work for it
                    entry_s[to, part] = leave_s[to, part] = now_s
                    to += 1
                if to == stages:
                    if logs and has_left(leave_s, stages, part // each, each):
                        left[gone] = part // each
                        gone += 1
                    continue
                parts[part].stage = to
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
                away, _ = stage_forecast_s(
                    now_s, to, order, rule, int(in_force.plan), arrival_s[query], n, part, sla_s, each, setting,
                    servers, batch_items, contended, mean_s, slowdown, overhead_s[to], pools, started_s,
                    expected_s, queue, parts,
                )  # fmt: skip
                if away:
                    offloaded[to, part] = True
                    give_up(state, to, first[to, part] + 1, first[to, part + 1])
            away = offloaded[to, part]
            pool = 2 * to + (ACCELERATOR if away else CPU)
            requests = cut(rule, share(n, min(rule.most_parts, n), part - query * each), away)
            parts[part].key = key_of(noise_key[query], np.uint64(to), query_number[query])
            parts[part].requests, parts[part].large = requests.requests, requests.large
            parts[part].large_items, parts[part].small_items = requests.large_items, requests.small_items
            parts[part].started, parts[part].unfinished = 0, requests.requests
            if predicts:
                plan, parts[part].turn, parts[part].size = int(in_force.plan), turns, n
                turns += 1
                parts[part].slack_s = begin_by_s(plan, pool, requests, arrival_s[query], sla_s, mean_s)
                pools[pool].waiting += requests.requests
                work_ns = left_ns(parts, part, plan, pool, 1, mean_s, slowdown, overhead_s[to])
                pools[pool].waiting_ns += work_ns
                join(pools, queue, pool, order, parts, part)
            else:
                queue[pool, pools[pool].tail] = part
                pools[pool].tail += 1
    events.counts[ARRIVED], events.counts[DUE], events.counts[TURN] = arrived, due, turns
    events.counts[LEFT] = gone
    return now_s if unsettled else -math.inf


@compiled
def forget_events(node: NodeArrays, state: NodeState, events: EventState, keep: NDArray[np.bool_]) -> None:
    """`node.forget` for a node that is served event by event."""
    each, held = node.sub_batches, len(keep)
    place = np.cumsum(keep) - 1
    for at in range(events.counts[DUE]):  # the order of the sub-batches stays, so the heap is one still
        events.event[at] = renumbered(events.event[at], place, each)
    for pool in range(len(node.servers)):
        begin, waiting = events.pools[pool].head, events.pools[pool].tail - events.pools[pool].head
        for at in range(waiting):
            part = events.queue[pool, begin + at]
            events.queue[pool, at] = place[part // each] * each + part % each
        events.pools[pool].head, events.pools[pool].tail = 0, waiting
    for query in range(held):
        if not keep[query]:
            events.counts[ARRIVED] -= 1
            continue
        events.noise_key[place[query]] = events.noise_key[query]
        for position in range(each):
            events.parts[place[query] * each + position] = events.parts[query * each + position]
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
        waiting = events.pools[pool].waiting
        window[AT.waiting_accelerator if pool % 2 == ACCELERATOR else AT.waiting_cpu] += waiting
    if node.sub_batches > 1:
        return
    plan, order = int(setting.plan), int(setting.order)
    for stage in range(len(node.overhead_s)):
        items = min(node.median_items, node.entering[plan, stage])
        if items > 0:
            _, leaves_s = stage_forecast_s(
                end_s, stage, order, rule_at(node, stage, setting), plan, end_s, items, _LAST, node.sla_s, 1,
                state.setting, node.servers, node.batch_items, node.contended, node.mean_s, node.slowdown,
                node.overhead_s[stage], events.pools, events.started_s, events.expected_s, events.queue, events.parts,
            )  # fmt: skip
            window[AT.predicted_s] += node.transfer_s[stage] + leaves_s


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
