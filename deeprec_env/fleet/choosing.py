"""What a router that follows state knows, and which node it chooses: rule 18, compiled, for all kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprec_env.fleet.draws import ROUTING
from deeprec_env.fleet.fewest import Fewest, fewest_of, first, first_among, one_less, one_more
from deeprec_env.fleet.ranking import Ranking, comes_before, rank_again, ranking_of
from deeprec_env.fleet.state import SMOOTHING
from deeprec_env.jit import compiled, uncounted
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import KernelRule
from deeprec_env.workload.noise import key_of, uniform

CHOICES = (
    "random", "weighted", "by-size", "round-robin", "least-requests", "least-work", "power-of-d", "probing",
)  # fmt: skip
"""Routers by what they are called; a `RouterArrays.choice` is a place here. The last four follow state."""

RANDOM, WEIGHTED, BY_SIZE, ROUND_ROBIN, LEAST_REQUESTS, LEAST_WORK, POWER_OF_D, PROBING = range(len(CHOICES))


class RouterArrays(NamedTuple):
    """A router and what it knows of the nodes for good. Pools are those of all stages, CPU and accelerator in turn."""

    group: Ints  # (nodes,)
    work_ns: Ints  # (groups, items + 1, pools) mean work of a query; (groups, 1, pools) where nobody asks
    work_scale: Floats  # (groups, pools)
    network_s: float
    age_s: float
    choice: int
    every_s: float
    hot: float


class RouterMemory(NamedTuple):
    """What a router remembers from one block of queries to the next."""

    fewest: Fewest  # of routers that look at queries in flight; those that draw nodes play no matches
    ranking: Ranking  # of the others, by what they look at
    routed: Ints  # (1,) the queries so far, which are the turns of the ranking
    in_flight: Ints  # (nodes,) as the router knows that probes
    ahead_ns: Ints  # (nodes, pools) mean work of the queries in flight
    latency_s: Floats  # (nodes,) smoothed
    probed: Ints  # (most,) the nodes drawn
    until_s: Floats  # (1,) when they are drawn anew


def empty_memory(rule: KernelRule, nodes: int, pools: int, queries: int) -> RouterMemory:
    """That of a router before the first block, of so many queries."""
    return RouterMemory(
        fewest=fewest_of(nodes, queries),
        ranking=ranking_of(nodes),
        routed=np.zeros(1, dtype=np.int64),
        in_flight=np.zeros(nodes, dtype=np.int64),
        ahead_ns=np.zeros((nodes, pools), dtype=np.int64),
        latency_s=np.zeros(nodes),
        probed=np.zeros(min(rule.draws, nodes), dtype=np.int64),
        until_s=np.full(1, -np.inf),
    )


@uncounted
def probe(router: RouterArrays, memory: RouterMemory, noise_key: np.uint64, now_s: float, query: int) -> None:
    """Draw the nodes that the router looks at for a query that arrives now, if it draws nodes."""
    if router.choice >= POWER_OF_D and now_s >= memory.until_s[0]:
        draw_nodes(memory.probed, len(router.group), noise_key, query)
        memory.until_s[0] = now_s + router.every_s


@uncounted
def choose(router: RouterArrays, memory: RouterMemory) -> int:
    """The node for the next query."""
    if router.choice == LEAST_REQUESTS:
        return first(memory.fewest)
    if router.choice == LEAST_WORK:
        return int(memory.ranking.node[1])
    if router.choice == POWER_OF_D:
        return first_among(memory.fewest, memory.probed)
    return _fastest(router, memory)


@uncounted
def _fastest(router: RouterArrays, memory: RouterMemory) -> int:
    """Of the nodes drawn the fastest that is not hot."""
    score, chosen, in_flight = memory.ranking.score, memory.ranking.chosen, memory.in_flight
    best, places, level = -1, len(score) // 2, level_at(router.hot, memory.probed, in_flight)
    for node in memory.probed:
        if in_flight[node] <= level:
            low, high = min(node, best), max(node, best)
            if best < 0 or comes_before(score, chosen, places + low, places + high) == (low == node):
                best = node
    return int(best)


@uncounted
def draw_nodes(probed: Ints, nodes: int, noise_key: np.uint64, query: int) -> None:
    """Draw different nodes for a query: one that is drawn again is drawn anew."""
    if len(probed) == nodes:
        for node in range(nodes):
            probed[node] = node
        return
    key = key_of(noise_key, np.uint64(ROUTING), query)
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
def level_at(hot: float, probed: Ints, in_flight: Ints) -> int:
    """The most queries in flight at a node that is not hot, of those drawn."""
    return int(np.sort(in_flight[probed])[int(hot * (len(probed) - 1))])


@uncounted
def sent(router: RouterArrays, memory: RouterMemory, node: int, items: int) -> None:
    """A query of so many items is sent to a node."""
    if router.choice == LEAST_REQUESTS or router.choice == POWER_OF_D:
        one_more(memory.fewest, node, router.choice == LEAST_REQUESTS)
        return
    memory.routed[0] += 1
    place = len(memory.ranking.node) // 2 + node
    memory.ranking.chosen[place] = memory.routed[0]
    if router.choice == LEAST_WORK:
        _count_work(router, memory, node, items, 1)
    else:
        memory.in_flight[node] += 1


@uncounted
def answered(router: RouterArrays, memory: RouterMemory, node: int, items: int, latency_s: float) -> None:
    """The router gets to know of an answer; the latency of a query that was shed is NaN."""
    if router.choice == LEAST_REQUESTS or router.choice == POWER_OF_D:
        one_less(memory.fewest, node, router.choice == LEAST_REQUESTS)
        return
    if router.choice == LEAST_WORK:
        _count_work(router, memory, node, items, -1)
        return
    score = memory.ranking.score
    memory.in_flight[node] -= 1
    memory.latency_s[node] = smoothed(memory.latency_s[node], latency_s)
    score[len(score) // 2 + node] = memory.latency_s[node]


@uncounted
def smoothed(before_s: float, latency_s: float) -> float:
    """A node's latency after one more answer; NaN says nothing."""
    if latency_s != latency_s:
        return before_s
    return latency_s if before_s == 0.0 else before_s + SMOOTHING * (latency_s - before_s)


@uncounted
def _count_work(router: RouterArrays, memory: RouterMemory, node: int, items: int, sign: int) -> None:
    """Let a node have a query of so many items more (`sign` 1) or less (-1) in flight."""
    ranking, ahead_ns = memory.ranking, memory.ahead_ns
    place, group, work_s = len(ranking.node) // 2 + node, router.group[node], 0.0
    for pool in range(router.work_scale.shape[1]):
        ahead_ns[node, pool] += sign * router.work_ns[group, items, pool]
        work_s += ahead_ns[node, pool] * router.work_scale[group, pool]
    ranking.score[place] = work_s
    rank_again(ranking.score, ranking.chosen, ranking.node, place)
