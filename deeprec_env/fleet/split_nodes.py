"""Nodes of a group served one after the other, each its part of the traffic, over one state. Compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.swift_nodes import Served
from deeprec_env.jit import compiled, uncounted
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import HELD, WAITING, NodeArrays, NodeState
from deeprec_env.simulation.event_kernel import serve_events
from deeprec_env.simulation.event_state import ARRIVED, EventState
from deeprec_env.simulation.node import serve_until
from deeprec_env.simulation.slow_phases import copy_phases
from deeprec_env.workload.stream import Traffic


@compiled
def bounds_of(node: Ints, count: int) -> Ints:
    """(nodes + 1,) where the queries of each of `count` nodes begin, and the end, if they are put node by node."""
    bounds = np.zeros(count + 1, dtype=np.int64)
    for query in range(len(node)):
        bounds[node[query] + 1] += 1
    for at in range(count):
        bounds[at + 1] += bounds[at]
    return bounds


@compiled
def by_node(node: Ints, count: int) -> tuple[Ints, Ints]:
    """The queries node by node, in their order, and their `bounds_of`."""
    bounds = bounds_of(node, count)
    place, order = bounds.copy(), np.empty(len(node), dtype=np.int64)
    for query in range(len(node)):
        order[place[node[query]]] = query
        place[node[query]] += 1
    return order, bounds


def traffic_by_node(traffic: Traffic, node: Ints, bounds: Ints) -> Traffic:
    """A traffic whose queries go to the nodes `node`, node by node."""
    arrival_s, items, query = _queries_by_node(traffic.arrival_s, traffic.items, traffic.query, node, bounds)
    return Traffic(arrival_s, items, traffic.noise_key, query, traffic.slow_key)


@compiled
def _queries_by_node(
    arrival_s: Floats, items: Ints, query: Ints, node: Ints, bounds: Ints
) -> tuple[Floats, Ints, Ints]:
    """Read in order and written to as many places as there are nodes: far fewer misses than the other way round."""
    count, place = len(node), bounds.copy()
    arrivals_s, sizes, numbers = np.empty(count), np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for i in range(count):
        at = place[node[i]]
        place[node[i]] += 1
        arrivals_s[at], sizes[at], numbers[at] = arrival_s[i], items[i], query[i]
    return arrivals_s, sizes, numbers


def served_by_node(served: Served, bounds: Ints) -> Served:
    """What became of queries, node by node."""
    found = Served._make(np.empty_like(array) for array in served)
    _arrange(served, found, bounds.copy(), np.zeros(len(bounds), dtype=np.int64))
    return found


@uncounted
def _arrange(served: Served, found: Served, place: Ints, request: Ints) -> None:
    """`place` (nodes + 1,) is where the queries of each node begin, `request` (nodes + 1,) all 0."""
    count = len(served.node)
    for i in range(count):
        request[served.node[i] + 1] += served.first[i + 1] - served.first[i]
    for node in range(len(request) - 1):
        request[node + 1] += request[node]
    found.first[count] = request[-1]
    for i in range(count):
        node = served.node[i]
        at, to = place[node], request[node]
        found.node[at], found.offloaded[at], found.leave_s[at] = node, served.offloaded[i], served.leave_s[i]
        found.first[at] = to
        for own in range(served.first[i], served.first[i + 1]):
            found.start_s[to], found.end_s[to] = served.start_s[own], served.end_s[own]
            to += 1
        place[node], request[node] = at + 1, to


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
