"""The compiled loop over arrivals of a fleet whose router follows state (rule 18).

What a query meets at its node is decided when it enters (rules 4 to 9): so the loop asks the router, draws the query's
service times, and lets the node's own recursion serve it. No event for a request; a heap of answers for the router.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.answers import Answers, drop_first, push
from deeprec_env.fleet.choosing import (
    DUE,
    POWER_OF_D,
    PROBING,
    ROUTED,
    RouterArrays,
    RouterMemory,
    best_of,
    count_query,
    draw_nodes,
    smooth,
)
from deeprec_env.jit import compiled
from deeprec_env.latency.service_times import request_s
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import ACCELERATOR, CPU
from deeprec_env.simulation.kernels import serve_request
from deeprec_env.simulation.splitting import DispatchRule, cut, offloads, request_items, requests_of
from deeprec_env.workload.noise import key_of, uniform


class FleetArrays(NamedTuple):
    """Nodes of one stage in groups; nothing changes them. Pools are CPU and accelerator."""

    servers: Ints  # (groups, pools)
    latency: Floats  # (groups, pools, longest row)
    slowdown: Floats  # (groups, pools, most servers + 1)
    uneven: NDArray[np.bool_]  # (groups, pools) see `ServerHeap`
    slowed: NDArray[np.bool_]  # (groups, pools)
    slowness: Floats  # (groups, pools, 3)
    overhead_s: Floats  # (groups,)
    transfer_s: Floats  # (groups,)
    most_items: Ints  # (groups,) and the next three: see `DispatchRule`
    largest: Ints
    even: NDArray[np.bool_]
    offload_from: Ints


class NodeMemory(NamedTuple):
    """What the nodes remember from one block of queries to the next."""

    free_s: Floats  # (nodes, pools, servers) when each server comes free, binary heaps
    phases: NDArray[Any]  # (nodes, pools) of `slow_phases.PHASE`


class Served(NamedTuple):
    """What becomes of the queries of a block, (queries,), and of their requests, (requests,)."""

    node: Ints
    offloaded: NDArray[np.bool_]
    first: Ints  # (queries + 1,)
    leave_s: Floats
    start_s: Floats
    end_s: Floats


@compiled
def requests_at_most(fleet: FleetArrays, items: Ints) -> int:
    """Room for the requests of queries of `items` items, wherever they go."""
    total = 0
    most_items, largest, even, offload_from = fleet.most_items, fleet.largest, fleet.even, fleet.offload_from
    for n in items:
        most = 0
        for group in range(len(largest)):
            rule = DispatchRule(most_items[group], 1, largest[group], even[group], offload_from[group], False)
            entering = min(n, rule.most_items)
            most = max(most, requests_of(entering, rule.largest, offloads(rule, entering)))
        total += most
    return total


@compiled
def route(
    router: RouterArrays,
    memory: RouterMemory,
    fleet: FleetArrays,
    nodes: NodeMemory,
    answers: Answers,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    served: Served,
) -> None:
    """Route the next queries and serve them, in the order of arrival; there has to be room for their requests.

    One function and local names: a look at an array in a tuple counts references, which costs as much as what is done.
    """
    choice, network_s, age_s, every_s, hot = router.choice, router.network_s, router.age_s, router.every_s, router.hot
    group_of, work_ns, work_scale = router.group, router.work_ns, router.work_scale
    in_flight, ahead_ns, smoothed_s = memory.in_flight, memory.ahead_ns, memory.latency_s
    score, chosen, winner = memory.ranking.score, memory.ranking.chosen, memory.ranking.node
    probed, drawn_until_s, ranked = memory.probed, memory.until_s[0], len(memory.ranking.node) // 2
    servers, latency, slowdown, slowness = fleet.servers, fleet.latency, fleet.slowdown, fleet.slowness
    uneven, slowed, overhead_s, transfer_s = fleet.uneven, fleet.slowed, fleet.overhead_s, fleet.transfer_s
    most_items, largest, even, offload_from = fleet.most_items, fleet.largest, fleet.even, fleet.offload_from
    free_s, phases = nodes.free_s, nodes.phases
    known_s, places, turns, unused = answers.known_s, answers.place, answers.turn, answers.unused
    node_answered, items_answered, latency_answered = answers.node, answers.items, answers.latency_s
    node_served, offloaded, first, leave_s = served.node, served.offloaded, served.first, served.leave_s
    start_s, end_s = served.start_s, served.end_s
    routed, due, room = memory.counts[ROUTED], memory.counts[DUE], len(unused)
    for i in range(len(arrival_s)):
        now_s, n = arrival_s[i], items[i]
        while due > 0 and known_s[0] <= now_s:  # what the router has got to know by now
            place = places[0]
            due -= 1
            drop_first(known_s, places, turns, due)
            unused[room - due - 1] = place
            node = node_answered[place]
            if choice == PROBING:
                smooth(node, latency_answered[place], smoothed_s, score)
            count_query(
                choice, node, items_answered[place], -1, group_of, work_ns, work_scale, in_flight, ahead_ns, score,
                chosen, winner,
            )  # fmt: skip
        if choice < POWER_OF_D:
            node = winner[1]
        else:
            if now_s >= drawn_until_s:
                draw_nodes(probed, len(group_of), noise_key, query[i])
                drawn_until_s = now_s + every_s
            node = best_of(choice, hot, probed, score, chosen, in_flight)
        routed += 1
        chosen[ranked + node] = routed
        count_query(
            choice, node, n, 1, group_of, work_ns, work_scale, in_flight, ahead_ns, score, chosen, winner
        )  # fmt: skip

        node_served[i] = node
        group = group_of[node]
        rule = DispatchRule(most_items[group], 1, largest[group], even[group], offload_from[group], False)
        entering = min(n, rule.most_items)
        away = offloads(rule, entering)
        requests = cut(rule, entering, away)
        pool = ACCELERATOR if away else CPU
        key, row, free = key_of(noise_key, np.uint64(0), query[i]), latency[group, pool], free_s[node, pool]
        count, extra_s, slows, slow = servers[group, pool], overhead_s[group], uneven[group, pool], slowed[group, pool]
        enters_s = now_s + network_s + transfer_s[group]
        last_s, begin = enters_s, first[i]
        for part in range(requests.requests):
            service_s = request_s(row, request_items(requests, part), uniform(key, part))
            starts_s, ends_s = serve_request(
                enters_s, service_s, extra_s, free, count, slowdown[group, pool], slows, slow, slowness[group],
                phases[node], pool,
            )  # fmt: skip
            start_s[begin + part], end_s[begin + part] = starts_s, ends_s
            last_s = max(last_s, ends_s)
        first[i + 1], offloaded[i], leave_s[i] = begin + requests.requests, away, last_s
        answered_s = last_s + network_s
        place = unused[room - due - 1]
        turns[place], node_answered[place], items_answered[place] = routed, node, n
        latency_answered[place] = answered_s - now_s
        push(known_s, places, turns, due, answered_s + age_s, place)
        due += 1
    memory.counts[ROUTED], memory.counts[DUE], memory.until_s[0] = routed, due, drawn_until_s
