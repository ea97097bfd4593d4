"""The compiled loop over arrivals of a fleet whose nodes are served event by event, each by the event kernel (rule 18).

Nodes are let go on one at a time: by one heap of next events, or, behind a router that looks at a few nodes alone,
those. What a query meets is known when its node comes to it, so answers are told as nodes leave queries behind.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.answers import NONE, Answers, in_order, send_back
from deeprec_env.fleet.choosing import POWER_OF_D, PROBING, RouterArrays, RouterMemory, answered, choose, probe, sent
from deeprec_env.fleet.ranking import Ranking, rank_again
from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation import event_state
from deeprec_env.simulation.arrays import HELD, NodeArrays, NodeState
from deeprec_env.simulation.event_kernel import admit_unserved, serve_through
from deeprec_env.simulation.event_state import ARRIVED, LEFT, EventState, events_at
from deeprec_env.simulation.slow_phases import copy_phases
from deeprec_env.simulation.splitting import setting_numbers
from deeprec_env.simulation.stacked_arrays import StackedArrays, node_at, state_at


class EventFleet(NamedTuple):
    """Nodes in groups, and what becomes of their queries, which a group numbers in the order of their entry."""

    routed: Ints  # (1,) queries that have arrived at the router
    entered: Ints  # (1,) those that have entered their nodes
    stack: StackedArrays  # by group
    setting: Floats  # (groups, controls)
    states: NodeState  # by group, of its queries; `free_s` is not used
    events: EventState  # by node; what is of queries, by group
    phases: NDArray[Any]  # (nodes, pools) of `slow_phases.PHASE`
    next: Ranking  # by when something happens next at a node; at one instant, nodes that are not settled come last
    unsettled_s: Floats  # (nodes,) see `serve_through`
    inside: Ints  # (nodes,) queries that have entered and not left
    node: Ints  # (queries,) where each went
    place: Ints  # (groups, queries) where a group's queries are in the traffic


@compiled
def make_room(node: NodeArrays, events: EventState, most: int) -> None:
    """Let every queue begin at its first place, if so many sub-batches more might not fit behind it."""
    pools, queue = events.pools, events.queue
    for pool in range(len(node.servers)):
        head, tail = pools[pool].head, pools[pool].tail
        if head > 0 and tail + most > queue.shape[1]:
            for at in range(head, tail):
                queue[pool, at - head] = queue[pool, at]
            pools[pool].head, pools[pool].tail = 0, tail - head


@compiled
def go_on(
    router: RouterArrays,
    fleet: EventFleet,
    answers: Answers,
    routed: int,
    arrival_s: Floats,
    items: Ints,
    which: int,
    arriving: int,
    until_s: float,
    through_s: float,
) -> None:
    """Let a node go on (`serve_through`); the last `arriving` queries of its group have just entered it, 0 or 1.

    What leaves it is on its way back to the router, which asks for answers at the `routed`-th arrival next.
    """
    group = router.group[which]
    node = node_at(fleet.stack, group)
    state, events = state_at(fleet.states, group, node), events_at(fleet.events, which, group)
    phases, each, last = fleet.phases[which], node.sub_batches, len(node.overhead_s) - 1
    fleet.inside[which] += arriving
    make_room(node, events, fleet.inside[which] * each)
    events.counts[ARRIVED], events.counts[LEFT] = state.counts[HELD] - arriving, 0
    copy_phases(phases, state.phases)
    order = int(setting_numbers(fleet.setting, group).order)
    unsettled_s = serve_through(node, state, events, order, until_s, through_s, fleet.unsettled_s[which])
    copy_phases(state.phases, phases)

    next_s, unsettled = math.inf, unsettled_s > -math.inf
    if unsettled:
        next_s = unsettled_s
    elif events.counts[event_state.DUE] > 0:
        next_s = events.due_s[0]
    score, chosen, winner = fleet.next.score, fleet.next.chosen, fleet.next.node
    at = len(winner) // 2 + which
    fleet.unsettled_s[which], score[at], chosen[at] = unsettled_s, next_s, unsettled
    if router.choice < POWER_OF_D:
        rank_again(score, chosen, winner, at)

    for position in range(events.counts[LEFT]):
        query = events.left[position]
        left_s = state.leave_s[last, query * each : (query + 1) * each].max()
        shed = left_s != left_s
        answered_s = (state.arrival_s[query] if shed else left_s) + router.network_s
        place = fleet.place[group, query]
        latency_s = math.nan if shed else answered_s - arrival_s[place]
        send_back(answers, place, which, items[place], latency_s, answered_s + router.age_s, routed, arrival_s)
    fleet.inside[which] -= events.counts[LEFT]


@compiled
def enter_node(
    router: RouterArrays,
    fleet: EventFleet,
    noise_key: np.uint64,
    enters_s: Floats,
    items: Ints,
    query: Ints,
    place: int,
) -> None:
    """Let the node of a query hold it, as the last of its group."""
    which = fleet.node[place]
    group = router.group[which]
    node = node_at(fleet.stack, group)
    state, events = state_at(fleet.states, group, node), events_at(fleet.events, which, group)
    fleet.place[group, state.counts[HELD]] = place
    own, setting = slice(place, place + 1), setting_numbers(fleet.setting, group)
    admit_unserved(node, state, events, noise_key, enters_s[own], items[own], query[own], setting)


@compiled
def route_events(
    router: RouterArrays,
    memory: RouterMemory,
    fleet: EventFleet,
    answers: Answers,
    noise_key: np.uint64,
    arrival_s: Floats,
    enters_s: Floats,
    items: Ints,
    query: Ints,
) -> bool:
    """Route the queries, which enter their nodes at `enters_s`, and serve them all.

    Returns whether it is done; if not, some node needs more room in `events`, with which the same call goes on.
    """
    choice, network_s, age_s, count = router.choice, router.network_s, router.age_s, len(arrival_s)
    ranked = len(fleet.next.node) // 2
    next_s, unsettled_s = fleet.next.score, fleet.unsettled_s
    room = fleet.events.queue.shape[2] // fleet.stack.padded.sub_batches.max()  # type: ignore[attr-defined]  # an array
    routed, entered = fleet.routed[0], fleet.entered[0]
    while True:
        now_s = arrival_s[routed] if routed < count else math.inf
        while entered < routed and enters_s[entered] <= now_s:
            which = fleet.node[entered]
            if 2 * (fleet.inside[which] + 1) > room:
                fleet.routed[0], fleet.entered[0] = routed, entered
                return False
            enter_node(router, fleet, noise_key, enters_s, items, query, entered)
            at_s = enters_s[entered]
            go_on(router, fleet, answers, routed, arrival_s, items, which, 1, at_s, at_s)
            entered += 1
        if routed == count:
            break

        # What the router has got to know by now, of nodes that it looks at.
        if choice < POWER_OF_D:
            while True:
                which = fleet.next.node[1]
                at_s = next_s[ranked + which]
                if (at_s + network_s) + age_s > now_s or unsettled_s[which] == now_s:
                    break
                go_on(router, fleet, answers, routed, arrival_s, items, which, 0, now_s, now_s)
        else:
            probe(router, memory, noise_key, now_s, query[routed])
            for which in memory.probed:
                at_s = next_s[ranked + which]
                if (at_s + network_s) + age_s <= now_s and unsettled_s[which] < now_s:
                    go_on(router, fleet, answers, routed, arrival_s, items, which, 0, now_s, now_s)
        own = answers.newest[routed]
        if choice == PROBING:
            own = in_order(own, answers.after, answers.known_s)
        while own != NONE:
            answered(router, memory, answers.node[own], answers.items[own], answers.latency_s[own])
            own = answers.after[own]

        which = choose(router, memory)
        fleet.node[routed] = which
        sent(router, memory, which, items[routed])
        routed += 1
    for which in range(len(router.group)):
        go_on(router, fleet, answers, routed, arrival_s, items, which, 0, math.inf, -math.inf)
    return True
