"""Nodes of a group served one after the other by the nodes' own recursion, each its part of the traffic. Compiled."""

from __future__ import annotations

import math

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import WAITING, NodeArrays, NodeState
from deeprec_env.simulation.node import serve_until


@compiled
def by_node(node: Ints, count: int) -> tuple[Ints, Ints]:
    """The queries node by node, in their order, and (nodes + 1,) where those of each of `count` nodes begin."""
    bounds = np.zeros(count + 1, dtype=np.int64)
    for query in range(len(node)):
        bounds[node[query] + 1] += 1
    for at in range(count):
        bounds[at + 1] += bounds[at]
    place, order = bounds[:-1].copy(), np.empty(len(node), dtype=np.int64)
    for query in range(len(node)):
        order[place[node[query]]] = query
        place[node[query]] += 1
    return order, bounds


@compiled
def serve_nodes(node: NodeArrays, state: NodeState, free_s: Floats, bounds: Ints) -> None:
    """Serve all queries that a state holds, those from `bounds[n]` to before `bounds[n + 1]` by the n-th of like nodes.

    `free_s` (nodes, pools, servers) is when the servers of each come free, before and after. Of nodes of several stages
    all queries have to be there: what enters a later stage is not carried on.
    """
    each = node.sub_batches
    for number in range(len(bounds) - 1):
        begin, end = bounds[number] * each, bounds[number + 1] * each
        if begin == end:
            continue
        for stage in range(len(node.overhead_s)):
            for part in range(begin, end):
                state.waiting[stage, part - begin] = part
            state.counts[WAITING + stage] = end - begin
        own = NodeState(
            state.counts,
            free_s[number],
            state.phases,
            state.arrival_s,
            state.items,
            state.query,
            state.setting,
            state.entry_s,
            state.leave_s,
            state.offloaded,
            state.first,
            state.waiting,
            state.base_s,
            state.start_s,
            state.end_s,
            state.carries,
        )
        serve_until(node, own, math.inf)
