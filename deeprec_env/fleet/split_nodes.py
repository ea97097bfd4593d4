"""Nodes of a group served one after the other, each its part of the traffic, over one state. Compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import HELD, WAITING, NodeArrays, NodeState
from deeprec_env.simulation.event_kernel import serve_events
from deeprec_env.simulation.event_state import ARRIVED, EventState
from deeprec_env.simulation.node import serve_until
from deeprec_env.simulation.slow_phases import copy_phases


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
def serve_nodes(node: NodeArrays, state: NodeState, free_s: Floats, phases: NDArray[Any], bounds: Ints) -> None:
    """Serve all queries that a state holds, those from `bounds[n]` to before `bounds[n + 1]` by the n-th of like nodes.

    `free_s` (nodes, pools, servers) is when the servers of each come free, `phases` (nodes, pools) how slow its pools
    are, both before and after. Of nodes of several stages all queries have to be there: what enters a later stage is
    not carried on.
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
        state.free_s[:] = free_s[number]
        copy_phases(phases[number], state.phases)
        serve_until(node, state, math.inf)
        free_s[number] = state.free_s
        copy_phases(state.phases, phases[number])


@compiled
def serve_nodes_events(
    node: NodeArrays, state: NodeState, events: EventState, order: int, phases: NDArray[Any], bounds: Ints
) -> None:
    """`serve_nodes` event by event, of idle nodes; each is idle again before the next one begins."""
    for number in range(len(bounds) - 1):
        events.counts[ARRIVED], state.counts[HELD] = bounds[number], bounds[number + 1]
        copy_phases(phases[number], state.phases)
        serve_events(node, state, events, order, math.inf)
        copy_phases(state.phases, phases[number])
