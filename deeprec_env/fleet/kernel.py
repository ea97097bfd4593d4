"""The compiled loop over arrivals of a fleet whose router follows state (rule 18).

What a query meets at its node is decided when it enters (rules 4 to 9): so the loop asks the router, draws the query's
service times, and lets the node's own recursion serve it. No event for a request; a heap of answers for the router.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.answers import Answers, pop, push
from deeprec_env.fleet.draws import ROUTING
from deeprec_env.fleet.ranking import Ranking, before, rank_again
from deeprec_env.fleet.state import SMOOTHING
from deeprec_env.jit import compiled
from deeprec_env.latency.service_times import request_s
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import ACCELERATOR, CPU
from deeprec_env.simulation.kernels import ServerHeap, serve
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
    entry_s: Floats
    offloaded: NDArray[np.bool_]
    first: Ints  # (queries + 1,)
    leave_s: Floats
    base_s: Floats
    start_s: Floats
    end_s: Floats


@compiled
def rule_in(fleet: FleetArrays, group: int) -> DispatchRule:
    """The dispatch rule of a group's nodes."""
    return DispatchRule(
        fleet.most_items[group], 1, fleet.largest[group], fleet.even[group], fleet.offload_from[group], False
    )


@compiled
def requests_at_most(fleet: FleetArrays, items: Ints) -> int:
    """Room for the requests of queries of `items` items, wherever they go."""
    total = 0
    for n in items:
        most = 0
        for group in range(len(fleet.largest)):
            rule = rule_in(fleet, group)
            entering = min(n, rule.most_items)
            most = max(most, requests_of(entering, rule.largest, offloads(rule, entering)))
        total += most
    return total


@compiled
def _count(fleet: FleetArrays, state: FleetState, node: int, items: int, sign: int) -> None:
    """A query was sent (1), or the router knows of its answer (-1)."""
    state.in_flight[node] += sign
    if fleet.choice == _LEAST_WORK:
        group = fleet.group[node]
        work_s = 0.0
        for pool in range(fleet.servers.shape[1]):
            state.ahead_ns[node, pool] += sign * fleet.work_ns[group, items, pool]
            work_s += state.ahead_ns[node, pool] * fleet.work_scale[group, pool]
        state.ranking.score[node] = work_s
        rank_again(state.ranking, node)
    elif fleet.choice < _POWER_OF_D:
        state.ranking.score[node] = state.in_flight[node]
        rank_again(state.ranking, node)
    elif fleet.choice == _POWER_OF_D:
        state.ranking.score[node] = state.in_flight[node]


@compiled
def _draw(fleet: FleetArrays, state: FleetState, key: np.uint64) -> None:
    """Draw different nodes: one that is drawn again is drawn anew."""
    nodes, found, j = len(fleet.group), 0, 0
    probed = state.probed
    if len(probed) == nodes:
        for node in range(nodes):
            probed[node] = node
        return
    while found < len(probed):
        node = min(int(uniform(key, j) * nodes), nodes - 1)
        j += 1
        known = False
        for other in range(found):
            known = known or probed[other] == node
        if not known:
            probed[found] = node
            found += 1


@compiled
def _choose(fleet: FleetArrays, state: FleetState, key: np.uint64, now_s: float) -> int:
    """The router's choice."""
    if fleet.choice < _POWER_OF_D:
        return state.ranking.winner[1]  # type: ignore[no-any-return]
    probed = state.probed
    if now_s >= state.until_s[0]:
        _draw(fleet, state, key)
        state.until_s[0] = now_s + fleet.every_s
    if fleet.choice == _PROBING:
        in_flight = np.sort(state.in_flight[probed])
        level = in_flight[int(fleet.hot * (len(probed) - 1))]
    best = -1
    for node in probed:
        cold = fleet.choice == _POWER_OF_D or state.in_flight[node] <= level
        if cold and (best < 0 or before(state.ranking, node, best)):
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
    """Route the next queries and serve them, in the order of arrival; there has to be room for their requests."""
    routed, due = state.counts[ROUTED], state.counts[DUE]
    draws, latency, free_s = fleet.choice >= _POWER_OF_D, fleet.latency, state.free_s
    order = np.zeros(1, dtype=np.int64)
    key = noise_key
    for i in range(len(arrival_s)):
        now_s = arrival_s[i]
        while due > 0 and answers.known_s[0] <= now_s:
            place = pop(answers, due)
            due -= 1
            node = answers.node[place]
            if fleet.choice == _PROBING:
                new_s, old_s = answers.latency_s[place], state.latency_s[node]
                state.latency_s[node] = new_s if old_s == 0.0 else old_s + SMOOTHING * (new_s - old_s)
                state.ranking.score[node] = state.latency_s[node]
            _count(fleet, state, node, answers.items[place], -1)

        if draws:
            key = key_of(noise_key, np.uint64(ROUTING), query[i])
        node = _choose(fleet, state, key, now_s)
        routed += 1
        state.ranking.chosen[node] = routed
        _count(fleet, state, node, items[i], 1)
        served.node[i] = node

        group = fleet.group[node]
        rule = rule_in(fleet, group)
        entering = min(items[i], rule.most_items)
        away = offloads(rule, entering)
        requests = cut(rule, entering, away)
        row = latency[group, ACCELERATOR if away else CPU]
        key = key_of(noise_key, np.uint64(0), query[i])
        begin = served.first[i]
        for request in range(requests.requests):
            u = uniform(key, request)
            served.base_s[begin + request] = request_s(row, request_items(requests, request), u)
        served.first[i + 1] = begin + requests.requests
        served.offloaded[i] = away
        served.entry_s[i] = now_s + fleet.network_s + fleet.transfer_s[group]
        order[0] = i
        serve(
            order,
            served.entry_s,
            served.offloaded,
            served.first,
            served.base_s,
            _servers(fleet, free_s, group, node, CPU),
            _servers(fleet, free_s, group, node, ACCELERATOR),
            fleet.overhead_s[group],
            served.start_s,
            served.end_s,
            served.leave_s,
        )
        answered_s = served.leave_s[i] + fleet.network_s
        push(answers, due, answered_s + fleet.age_s, routed, node, items[i], answered_s - now_s)
        due += 1
    state.counts[ROUTED], state.counts[DUE] = routed, due


@compiled
def _servers(fleet: FleetArrays, free_s: Floats, group: int, node: int, pool: int) -> ServerHeap:
    return ServerHeap(
        free_s[node, pool, : fleet.servers[group, pool]], fleet.slowdown[group, pool], fleet.contended[group, pool]
    )
