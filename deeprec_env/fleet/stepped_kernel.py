"""The compiled loop over arrivals of a fleet whose nodes come and go: any of this package's routers, among some nodes.

As `kernel`, where all nodes are on for ever and settings stay: a query is routed on arrival, its node's recursion
serves it, and a heap holds the answers that are on their way to the router.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.answers import NONE, Answers, in_order, send_back
from deeprec_env.fleet.choosing import (
    BY_SIZE,
    LEAST_REQUESTS,
    LEAST_WORK,
    POWER_OF_D,
    PROBING,
    RANDOM,
    ROUND_ROBIN,
    WEIGHTED,
    RouterArrays,
    draw_nodes,
    level_at,
    smoothed,
)
from deeprec_env.fleet.draws import ROUTING
from deeprec_env.fleet.ranking import Ranking, comes_before, rank_again
from deeprec_env.fleet.swift_nodes import NodeMemory, Rules, Served, SwiftNodes, serve_query
from deeprec_env.jit import compiled, uncounted
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.workload.noise import key_of, uniform

_ANY = 1 << 62
"""More queries than any node has in flight."""


class Among(NamedTuple):
    """The nodes that may be chosen, ascending, and what routers make of them."""

    nodes: Ints
    first: Ints  # (groups + 1,) where those of each group begin
    edges: Floats  # of the router weighted: where the share of each ends, of 1
    may: NDArray[np.bool_]  # (all nodes,)
    bounds: Ints  # (groups - 1,) of the router by-size


class SteppedState(NamedTuple):
    """What nodes and router remember."""

    routed: Ints  # (1,) queries so far
    nodes: NodeMemory
    ranking: Ranking  # of the nodes that may be chosen, where the router ranks them; infinite scores of the others
    chosen: Ints  # (nodes,) for the n-th query; 0: never
    in_flight: Ints  # (nodes,)
    ahead_ns: Ints  # (nodes, pools) mean work of the queries in flight
    work_s: Floats  # (nodes,) the same in the time of all servers
    latency_s: Floats  # (nodes,) smoothed
    busy_until_s: Floats  # (nodes,) when the last query of each leaves
    probed: Ints  # (most,) places in `Among.nodes`
    until_s: Floats  # (1,) when they are drawn anew


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


@uncounted
def first_of(among: Among, state: SteppedState, places: Ints, score: Any, most: int) -> int:
    """Of the nodes at some places, those with at most so many queries in flight: the one of the lowest score (nodes,).

    Ties: the one chosen longest ago, then the lowest number.
    """
    best, chosen = -1, state.chosen
    for place in places:
        node = among.nodes[place]
        if state.in_flight[node] > most:
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
    return int(best)


@compiled
def choose(
    router: RouterArrays,
    state: SteppedState,
    among: Among,
    noise_key: np.uint64,
    query: int,
    now_s: float,
    items: int,
) -> int:
    """The node for a query, of a router that does not rank its nodes."""
    nodes, choice = among.nodes, router.choice
    key = key_of(noise_key, np.uint64(ROUTING), query)
    if choice == RANDOM:
        return int(nodes[min(int(uniform(key, 0) * len(nodes)), len(nodes) - 1)])
    if choice == WEIGHTED:
        return int(nodes[np.searchsorted(among.edges, uniform(key, 0), side="right")])
    if choice == BY_SIZE:
        group = np.searchsorted(among.bounds, items, side="right")
        places = np.arange(among.first[group], among.first[group + 1])
        return first_of(among, state, places, state.chosen, _ANY)
    if now_s >= state.until_s[0]:
        draw_nodes(state.probed, len(nodes), noise_key, query)
        state.until_s[0] = now_s + router.every_s
    if choice == PROBING:
        level = level_at(router.hot, nodes[state.probed], state.in_flight)
        return first_of(among, state, state.probed, state.latency_s, level)
    return first_of(among, state, state.probed, state.in_flight, _ANY)


@uncounted
def count_query(
    router: RouterArrays, state: SteppedState, may: NDArray[np.bool_], node: int, items: int, sign: int
) -> None:
    """Let a node have a query of so many items more (`sign` 1) or less (-1) in flight."""
    choice = router.choice
    state.in_flight[node] += sign
    if choice == LEAST_WORK:
        group, work_s = router.group[node], 0.0
        for pool in range(router.work_scale.shape[1]):
            state.ahead_ns[node, pool] += sign * router.work_ns[group, items, pool]
            work_s += state.ahead_ns[node, pool] * router.work_scale[group, pool]
        state.work_s[node] = work_s
    if ROUND_ROBIN <= choice < POWER_OF_D and may[node]:
        score, chosen, winner = state.ranking.score, state.ranking.chosen, state.ranking.node
        place = len(winner) // 2 + node
        chosen[place] = state.chosen[node]
        if choice == LEAST_WORK:
            score[place] = state.work_s[node]
        elif choice == LEAST_REQUESTS:
            score[place] = state.in_flight[node]
        rank_again(score, chosen, winner, place)


@uncounted
def route_among(
    router: RouterArrays,
    state: SteppedState,
    among: Among,
    nodes: SwiftNodes,
    rules: Rules,
    answers: Answers,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    served: Served,
) -> None:
    """Route the next queries among some nodes and serve them, in order; there has to be room for their requests."""
    choice, latency_s = router.choice, state.latency_s
    waiting = len(answers.after) - len(arrival_s)  # answers to earlier queries
    for i in range(len(arrival_s)):
        now_s, n = arrival_s[i], items[i]
        known = answers.newest[i]  # what the router has got to know by now
        if choice == PROBING:
            known = in_order(known, answers.after, answers.known_s)
        while known != NONE:
            node = answers.node[known]
            latency_s[node] = smoothed(latency_s[node], answers.latency_s[known])
            count_query(router, state, among.may, node, answers.items[known], -1)
            known = answers.after[known]
        if ROUND_ROBIN <= choice < POWER_OF_D:
            node = state.ranking.node[1]
        else:
            node = choose(router, state, among, noise_key, query[i], now_s, n)
        state.routed[0] += 1
        state.chosen[node] = state.routed[0]
        count_query(router, state, among.may, node, n, 1)
        leave_s = serve_query(
            nodes, rules, state.nodes, noise_key, node, now_s + router.network_s, n, query[i], served, i
        )  # fmt: skip
        state.busy_until_s[node] = max(state.busy_until_s[node], leave_s)
        answered_s = leave_s + router.network_s
        send_back(
            answers, waiting + i, node, n, answered_s - now_s, answered_s + router.age_s, i + 1, arrival_s
        )  # fmt: skip
