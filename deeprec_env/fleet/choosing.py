"""What a router that follows state knows, and which node it chooses: rule 18, compiled, for all kernels.

Arrays are those of `RouterMemory` by the same names, one by one: a look at an array in a tuple counts references, which
costs as much as what is done.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprec_env.fleet.draws import ROUTING
from deeprec_env.fleet.ranking import Ranking, comes_before, rank_again, ranking_of
from deeprec_env.fleet.state import SMOOTHING
from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import KernelRule
from deeprec_env.workload.noise import key_of, uniform

CHOICES = ("least-requests", "least-work", "power-of-d", "probing")
"""Of a `KernelRule`."""

LEAST_WORK, POWER_OF_D, PROBING = 1, 2, 3

ROUTED, DUE = 0, 1
"""Entries of `RouterMemory.counts`: queries routed so far, answers that the router does not know of yet."""


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

    counts: Ints  # (2,)
    ranking: Ranking  # by what the router looks at; of routers that draw nodes no matches are played
    in_flight: Ints  # (nodes,)
    ahead_ns: Ints  # (nodes, pools) mean work of the queries in flight
    latency_s: Floats  # (nodes,) smoothed
    probed: Ints  # (most,) the nodes drawn
    until_s: Floats  # (1,) when they are drawn anew


def empty_memory(rule: KernelRule, nodes: int, pools: int) -> RouterMemory:
    """That of a router before the first query."""
    return RouterMemory(
        counts=np.zeros(2, dtype=np.int64),
        ranking=ranking_of(nodes),
        in_flight=np.zeros(nodes, dtype=np.int64),
        ahead_ns=np.zeros((nodes, pools), dtype=np.int64),
        latency_s=np.zeros(nodes),
        probed=np.zeros(min(rule.draws, nodes), dtype=np.int64),
        until_s=np.full(1, -np.inf),
    )


@compiled
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
def best_of(choice: int, hot: float, probed: Ints, score: Floats, chosen: Ints, in_flight: Ints) -> int:
    """The first of the drawn nodes that are not hot; `score` and `chosen` of all the places as in `Ranking`."""
    best, places = -1, len(score) // 2
    level = np.sort(in_flight[probed])[int(hot * (len(probed) - 1))] if choice == PROBING else 0
    for node in probed:
        if choice == PROBING and in_flight[node] > level:
            continue
        low, high = min(node, best), max(node, best)
        if best < 0 or comes_before(score, chosen, places + low, places + high) == (low == node):
            best = node
    return best


@compiled
def count_query(
    choice: int,
    node: int,
    items: int,
    sign: int,
    group: Ints,
    work_ns: Ints,
    work_scale: Floats,
    in_flight: Ints,
    ahead_ns: Ints,
    score: Floats,
    chosen: Ints,
    winner: Ints,
) -> None:
    """Let a node have a query of so many items more (`sign` 1) or less (-1) in flight."""
    place = len(winner) // 2 + node
    in_flight[node] += sign
    if choice == LEAST_WORK:
        work_s, of = 0.0, group[node]
        for pool in range(work_scale.shape[1]):
            ahead_ns[node, pool] += sign * work_ns[of, items, pool]
            work_s += ahead_ns[node, pool] * work_scale[of, pool]
        score[place] = work_s
    elif choice != PROBING:
        score[place] = in_flight[node]
    if choice < POWER_OF_D:
        rank_again(score, chosen, winner, place)


@compiled
def smooth(node: int, latency_s: float, smoothed_s: Floats, score: Floats) -> None:
    """Let a router that probes know of an answer; the latency of a query that was shed is NaN, and says nothing."""
    if latency_s == latency_s:
        old_s = smoothed_s[node]
        smoothed_s[node] = latency_s if old_s == 0.0 else old_s + SMOOTHING * (latency_s - old_s)
        score[len(score) // 2 + node] = smoothed_s[node]
