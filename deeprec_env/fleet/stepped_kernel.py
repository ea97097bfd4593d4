"""The compiled loop over arrivals of a fleet whose nodes come and go: any of this package's routers, among some nodes.

As `kernel`, where all nodes are on for ever and settings stay: a query is routed on arrival, its node's recursion
serves it, and a heap holds the answers that are on their way to the router.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.answers import Answers, drop_first, push
from deeprec_env.fleet.choosing import draw_nodes
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

CHOICES = (
    "random", "weighted", "by-size", "round-robin", "least-requests", "least-work", "power-of-d", "probing",
)  # fmt: skip
"""Routers by what they are called; a `SteppedArrays.choice` is a place here."""

RANDOM, WEIGHTED, BY_SIZE, ROUND_ROBIN, LEAST_REQUESTS, LEAST_WORK, POWER_OF_D, PROBING = range(len(CHOICES))

ROUTED, DUE = 0, 1
"""Entries of `SteppedState.counts`: queries routed so far, answers that the router does not know of yet."""


class SteppedArrays(NamedTuple):
    """Nodes of one stage in groups, and their router; nothing changes them. Pools are CPU and accelerator."""

    group: Ints  # (nodes,)
    servers: Ints  # (groups, pools)
    latency: Floats  # (groups, pools, longest row)
    slowdown: Floats  # (groups, pools, most servers + 1)
    contended: NDArray[np.bool_]  # (groups, pools)
    overhead_s: Floats  # (groups,)
    transfer_s: Floats  # (groups,)
    work_ns: Ints  # (groups, items + 1, pools) mean work of a query; (groups, 1, pools) where nobody asks
    work_scale: Floats  # (groups, pools)
    network_s: float
    age_s: float
    choice: int
    every_s: float
    hot: float
    bounds: Ints  # (groups - 1,) of by-size


class Rules(NamedTuple):
    """What is in force in each group: see `DispatchRule`."""

    most_items: Ints  # (groups,)
    largest: Ints
    even: NDArray[np.bool_]
    offload_from: Ints


class Among(NamedTuple):
    """The nodes that may be chosen, ascending, and what routers make of them."""

    nodes: Ints
    first: Ints  # (groups + 1,) where those of each group begin
    edges: Floats  # of the router weighted: where the share of each ends, of 1


class SteppedState(NamedTuple):
    """What nodes and router remember."""

    counts: Ints  # (2,)
    free_s: Floats  # (nodes, pools, servers) when each server comes free, binary heaps
    ranking: Ranking  # of the nodes that may be chosen, where the router ranks them; infinite scores of the others
    chosen: Ints  # (nodes,) for the n-th query; 0: never
    in_flight: Ints  # (nodes,)
    ahead_ns: Ints  # (nodes, pools) mean work of the queries in flight
    work_s: Floats  # (nodes,) the same in the time of all servers
    latency_s: Floats  # (nodes,) smoothed
    busy_until_s: Floats  # (nodes,) when the last query of each leaves
    probed: Ints  # (most,) places in `Among.nodes`
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
def requests_at_most(rules: Rules, items: Ints) -> int:
    """Room for the requests of queries of `items` items, wherever they go."""
    total = 0
    for n in items:
        most = 0
        for group in range(len(rules.largest)):
            rule = DispatchRule(
                rules.most_items[group], 1, rules.largest[group], rules.even[group], rules.offload_from[group], False
            )
            entering = min(n, rule.most_items)
            most = max(most, requests_of(entering, rule.largest, offloads(rule, entering)))
        total += most
    return total


@compiled
def rank_among(ranking: Ranking, score: Floats, chosen: Ints, nodes: Ints) -> None:
    """Rank some nodes, whose scores and turns are given, and none of the others."""
    places = len(ranking.node) // 2
    for at in range(places, 2 * places):
        ranking.score[at] = np.inf
        ranking.chosen[at] = 0
    for node in nodes:
        ranking.score[places + node] = score[node]
        ranking.chosen[places + node] = chosen[node]
    for match in range(places - 1, 0, -1):
        left = 2 * match
        won = left + 1 - comes_before(ranking.score, ranking.chosen, left, left + 1)
        ranking.score[match], ranking.chosen[match] = ranking.score[won], ranking.chosen[won]
        ranking.node[match] = ranking.node[won]


@compiled
def first_of(nodes: Ints, places: Ints, score: Floats, chosen: Ints, in_flight: Ints, most: int) -> int:
    """Of the nodes at some places, those with at most so many queries in flight: the one of the lowest score.

    Ties: the one chosen longest ago, then the lowest number.
    """
    best = -1
    for place in places:
        node = nodes[place]
        if in_flight[node] > most:
            continue
        if (
            best < 0
            or score[node] < score[best]
            or (
                score[node] == score[best]
                and (chosen[node] < chosen[best] or (chosen[node] == chosen[best] and node < best))
            )
        ):
            best = node
    return best


@compiled
def choose(
    fleet: SteppedArrays,
    state: SteppedState,
    among: Among,
    noise_key: np.uint64,
    query: int,
    now_s: float,
    items: int,
    most: int,
) -> int:
    """The node for a query, of a router that does not rank its nodes; `most` is more than any has in flight."""
    nodes, choice = among.nodes, fleet.choice
    key = key_of(noise_key, np.uint64(ROUTING), query)
    if choice == RANDOM:
        return int(nodes[min(int(uniform(key, 0) * len(nodes)), len(nodes) - 1)])
    if choice == WEIGHTED:
        return int(nodes[np.searchsorted(among.edges, uniform(key, 0), side="right")])
    if choice == BY_SIZE:
        group = np.searchsorted(fleet.bounds, items, side="right")
        places = np.arange(among.first[group], among.first[group + 1])
        return first_of(nodes, places, np.zeros(len(state.chosen)), state.chosen, state.in_flight, most)
    if now_s >= state.until_s[0]:
        draw_nodes(state.probed, len(nodes), noise_key, query)
        state.until_s[0] = now_s + fleet.every_s
    if choice == PROBING:
        level = np.sort(state.in_flight[nodes[state.probed]])[int(fleet.hot * (len(state.probed) - 1))]
        return first_of(nodes, state.probed, state.latency_s, state.chosen, state.in_flight, level)
    score = state.in_flight.astype(np.float64)
    return first_of(nodes, state.probed, score, state.chosen, state.in_flight, most)


@compiled
def route_among(
    fleet: SteppedArrays,
    rules: Rules,
    state: SteppedState,
    answers: Answers,
    among: Among,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    served: Served,
) -> None:
    """Route the next queries among some nodes and serve them, in order; there has to be room for their requests."""
    choice, network_s = fleet.choice, fleet.network_s
    ranks = ROUND_ROBIN <= choice <= LEAST_WORK
    score, turns_of, winner = state.ranking.score, state.ranking.chosen, state.ranking.node
    ranked, can = len(winner) // 2, np.zeros(len(fleet.group), dtype=np.bool_)
    can[among.nodes] = True
    in_flight, ahead_ns, work_s, chosen = state.in_flight, state.ahead_ns, state.work_s, state.chosen
    known_s, places, turns, unused = answers.known_s, answers.place, answers.turn, answers.unused
    routed, due, room = state.counts[ROUTED], state.counts[DUE], len(unused)
    for i in range(len(arrival_s)):
        now_s, sign = arrival_s[i], -1
        while True:  # what the router has got to know by now, and then the query itself
            if due > 0 and known_s[0] <= now_s:
                place = places[0]
                node, n = answers.node[place], answers.items[place]
                due -= 1
                drop_first(known_s, places, turns, due)
                unused[room - due - 1] = place
                old_s, new_s = state.latency_s[node], answers.latency_s[place]
                state.latency_s[node] = new_s if old_s == 0.0 else old_s + SMOOTHING * (new_s - old_s)
            else:
                sign, n = 1, items[i]
                if ranks:
                    node = winner[1]
                else:
                    node = choose(fleet, state, among, noise_key, query[i], now_s, n, in_flight.size + room)
                routed += 1
                chosen[node] = routed
            in_flight[node] += sign
            if choice == LEAST_WORK:
                group, seconds = fleet.group[node], 0.0
                for pool in range(2):
                    ahead_ns[node, pool] += sign * fleet.work_ns[group, n, pool]
                    seconds += ahead_ns[node, pool] * fleet.work_scale[group, pool]
                work_s[node] = seconds
            if ranks and can[node]:
                turns_of[ranked + node] = chosen[node]
                if choice == LEAST_WORK:
                    score[ranked + node] = work_s[node]
                elif choice == LEAST_REQUESTS:
                    score[ranked + node] = in_flight[node]
                rank_again(score, turns_of, winner, ranked + node)
            if sign > 0:
                break

        served.node[i] = node
        group = fleet.group[node]
        rule = DispatchRule(
            rules.most_items[group], 1, rules.largest[group], rules.even[group], rules.offload_from[group], False
        )
        entering = min(n, rule.most_items)
        away = offloads(rule, entering)
        requests = cut(rule, entering, away)
        pool = ACCELERATOR if away else CPU
        own, row, free = key_of(noise_key, np.uint64(0), query[i]), fleet.latency[group, pool], state.free_s[node, pool]
        count, slows, extra_s = fleet.servers[group, pool], fleet.contended[group, pool], fleet.overhead_s[group]
        enters_s = now_s + network_s + fleet.transfer_s[group]
        last_s, begin = enters_s, served.first[i]
        for part in range(requests.requests):
            starts_s = max(enters_s, free[0])
            service_s = request_s(row, request_items(requests, part), uniform(own, part))
            if slows:
                service_s = service_s * fleet.slowdown[group, pool, busy_at(free, count, starts_s)]
            ends_s = starts_s + (service_s + extra_s)
            served.start_s[begin + part], served.end_s[begin + part] = starts_s, ends_s
            last_s = max(last_s, ends_s)
            take_first(free, count, ends_s)
        served.first[i + 1], served.offloaded[i], served.leave_s[i] = begin + requests.requests, away, last_s
        state.busy_until_s[node] = max(state.busy_until_s[node], last_s)
        answered_s = last_s + network_s
        place = unused[room - due - 1]
        turns[place], answers.node[place], answers.items[place] = routed, node, n
        answers.latency_s[place] = answered_s - now_s
        push(known_s, places, turns, due, answered_s + fleet.age_s, place)
        due += 1
    state.counts[ROUTED], state.counts[DUE] = routed, due
