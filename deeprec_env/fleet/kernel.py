"""The compiled loop over arrivals of a fleet whose router follows state (rule 18).

What a query meets at its node is decided when it enters (rules 4 to 9): so the loop asks the router, draws the query's
service times, and lets the node's own recursion serve it. No event for a request; a heap of answers for the router.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.answers import Answers, drop_first, push
from deeprec_env.fleet.draws import ROUTING
from deeprec_env.fleet.ranking import Ranking, comes_before, rank_again
from deeprec_env.fleet.state import SMOOTHING
from deeprec_env.jit import compiled
from deeprec_env.latency.service_times import request_s
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import ACCELERATOR, CPU
from deeprec_env.simulation.kernels import busy_at, take_first
from deeprec_env.simulation.splitting import DispatchRule, cut, offloads, request_items, requests_of
from deeprec_env.workload.noise import key_of, uniform

CHOICES = ("least-requests", "least-work", "power-of-d", "probing")
"""Of a `KernelRule`."""

_LEAST_WORK, _POWER_OF_D, _PROBING = 1, 2, 3

ROUTED, DUE, PROBED = 0, 1, 2
"""Entries of `FleetState.counts`: queries routed so far, answers that the router does not know of yet, nodes probed."""


class FleetArrays(NamedTuple):
    """Nodes of one stage in groups, and their router; nothing changes them. Pools are CPU and accelerator."""

    group: Ints  # (nodes,)
    servers: Ints  # (groups, pools)
    latency: Floats  # (groups, pools, longest row)
    slowdown: Floats  # (groups, pools, most servers + 1)
    contended: NDArray[np.bool_]  # (groups, pools)
    overhead_s: Floats  # (groups,)
    transfer_s: Floats  # (groups,)
    most_items: Ints  # (groups,) and the next three: see `DispatchRule`
    largest: Ints
    even: NDArray[np.bool_]
    offload_from: Ints
    work_ns: Ints  # (groups, items + 1, pools) mean work of a query; (groups, 1, pools) where nobody asks
    work_scale: Floats  # (groups, pools)
    network_s: float
    age_s: float
    choice: int
    draws: int
    every_s: float
    hot: float


class FleetState(NamedTuple):
    """What nodes and router remember from one block of queries to the next."""

    counts: Ints  # (3,)
    free_s: Floats  # (nodes, pools, servers) when each server comes free, binary heaps
    ranking: Ranking  # by what the router looks at; of routers that draw nodes no matches are played
    in_flight: Ints  # (nodes,)
    ahead_ns: Ints  # (nodes, pools) mean work of the queries in flight
    latency_s: Floats  # (nodes,) smoothed
    probed: Ints  # (most,) the nodes drawn
    until_s: Floats  # (1,) when they are drawn anew


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
def draw_nodes(probed: Ints, nodes: int, key: np.uint64) -> None:
    """Draw different nodes: one that is drawn again is drawn anew."""
    if len(probed) == nodes:
        for node in range(nodes):
            probed[node] = node
        return
    found = j = 0
    while found < len(probed):
        node = min(int(uniform(key, j) * nodes), nodes - 1)
        j += 1
        at = 0
        while at < found and probed[at] != node:
            at += 1
        if at == found:
            probed[found] = node
            found += 1


@compiled
def best_of(probed: Ints, score: Floats, chosen: Ints, in_flight: Ints, most: int) -> int:
    """The first of the drawn nodes that have at most so many queries in flight; of all the places as in `Ranking`."""
    best, places = -1, len(score) // 2
    for node in probed:
        if in_flight[node] > most:
            continue
        low, high = min(node, best), max(node, best)
        if best < 0 or comes_before(score, chosen, places + low, places + high) == (low == node):
            best = node
    return best


@compiled
def route(
    fleet: FleetArrays,
    state: FleetState,
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
    choice, network_s, age_s, every_s, hot = fleet.choice, fleet.network_s, fleet.age_s, fleet.every_s, fleet.hot
    group_of, servers, latency, slowdown = fleet.group, fleet.servers, fleet.latency, fleet.slowdown
    contended, overhead_s, transfer_s = fleet.contended, fleet.overhead_s, fleet.transfer_s
    most_items, largest, even, offload_from = fleet.most_items, fleet.largest, fleet.even, fleet.offload_from
    work_ns, work_scale = fleet.work_ns, fleet.work_scale
    free_s, in_flight, ahead_ns, smoothed_s = state.free_s, state.in_flight, state.ahead_ns, state.latency_s
    score, chosen, winner = state.ranking.score, state.ranking.chosen, state.ranking.node
    ranked = len(winner) // 2  # the place of node 0
    probed, drawn_until_s, nodes = state.probed, state.until_s[0], len(fleet.group)
    known_s, places, turns, unused = answers.known_s, answers.place, answers.turn, answers.unused
    node_answered, items_answered, latency_answered = answers.node, answers.items, answers.latency_s
    node_served, offloaded, first, leave_s = served.node, served.offloaded, served.first, served.leave_s
    start_s, end_s = served.start_s, served.end_s
    routed, due, room = state.counts[ROUTED], state.counts[DUE], len(unused)
    ranks = choice < _POWER_OF_D
    for i in range(len(arrival_s)):
        now_s = arrival_s[i]
        sign = -1
        while True:  # what the router has got to know by now, and then the query itself
            if due > 0 and known_s[0] <= now_s:
                place = places[0]
                node, n = node_answered[place], items_answered[place]
                due -= 1
                drop_first(known_s, places, turns, due)
                unused[room - due - 1] = place
                if choice == _PROBING:
                    old_s, new_s = smoothed_s[node], latency_answered[place]
                    smoothed_s[node] = new_s if old_s == 0.0 else old_s + SMOOTHING * (new_s - old_s)
                    score[ranked + node] = smoothed_s[node]
            else:
                sign, n = 1, items[i]
                if ranks:
                    node = winner[1]
                else:
                    if now_s >= drawn_until_s:
                        draw_nodes(probed, nodes, key_of(noise_key, np.uint64(ROUTING), query[i]))
                        drawn_until_s = now_s + every_s
                    most = in_flight.size + room
                    if choice == _PROBING:
                        most = np.sort(in_flight[probed])[int(hot * (len(probed) - 1))]
                    node = best_of(probed, score, chosen, in_flight, most)
                routed += 1
                chosen[ranked + node] = routed
            in_flight[node] += sign
            if choice == _LEAST_WORK:
                group, work_s = group_of[node], 0.0
                for pool in range(2):
                    ahead_ns[node, pool] += sign * work_ns[group, n, pool]
                    work_s += ahead_ns[node, pool] * work_scale[group, pool]
                score[ranked + node] = work_s
            elif choice != _PROBING:
                score[ranked + node] = in_flight[node]
            if ranks:
                rank_again(score, chosen, winner, ranked + node)
            if sign > 0:
                break

        node_served[i] = node
        group = group_of[node]
        rule = DispatchRule(most_items[group], 1, largest[group], even[group], offload_from[group], False)
        entering = min(n, rule.most_items)
        away = offloads(rule, entering)
        requests = cut(rule, entering, away)
        pool = ACCELERATOR if away else CPU
        key, row, free = key_of(noise_key, np.uint64(0), query[i]), latency[group, pool], free_s[node, pool]
        count, slows, extra_s = servers[group, pool], contended[group, pool], overhead_s[group]
        enters_s = now_s + network_s + transfer_s[group]
        last_s, begin = enters_s, first[i]
        for part in range(requests.requests):
            starts_s = max(enters_s, free[0])
            service_s = request_s(row, request_items(requests, part), uniform(key, part))
            if slows:
                service_s = service_s * slowdown[group, pool, busy_at(free, count, starts_s)]
            ends_s = starts_s + (service_s + extra_s)
            start_s[begin + part], end_s[begin + part] = starts_s, ends_s
            last_s = max(last_s, ends_s)
            take_first(free, count, ends_s)
        first[i + 1], offloaded[i], leave_s[i] = begin + requests.requests, away, last_s
        answered_s = last_s + network_s
        place = unused[room - due - 1]
        turns[place], node_answered[place], items_answered[place] = routed, node, n
        latency_answered[place] = answered_s - now_s
        push(known_s, places, turns, due, answered_s + age_s, place)
        due += 1
    state.counts[ROUTED], state.counts[DUE], state.until_s[0] = routed, due, drawn_until_s
