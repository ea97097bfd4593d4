"""Nodes of a fleet where all that happens to a query is decided when it enters: one stage, served by the recursion.

What both compiled loops over arrivals (`kernel`, `stepped_kernel`) know of them, and what becomes of a query there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled, uncounted
from deeprec_env.latency.service_times import request_s
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import ACCELERATOR, CPU, NodeArrays
from deeprec_env.simulation.kernels import serve_request
from deeprec_env.simulation.splitting import DispatchRule, cut, offloads, request_items, requests_of, rule_at
from deeprec_env.workload.noise import key_of, uniform


class SwiftNodes(NamedTuple):
    """The nodes in groups; nothing changes them. Pools are CPU and accelerator."""

    group: Ints  # (nodes,)
    servers: Ints  # (groups, pools)
    latency: Floats  # (groups, pools, longest row)
    slowdown: Floats  # (groups, pools, most servers + 1)
    uneven: NDArray[np.bool_]  # (groups, pools) see `ServerHeap`
    slowed: NDArray[np.bool_]  # (groups, pools)
    slowness: Floats  # (groups, pools, 3)
    overhead_s: Floats  # (groups,)
    transfer_s: Floats  # (groups,)


class Rules(NamedTuple):
    """What is in force in each group: see `DispatchRule`."""

    most_items: Ints  # (groups,)
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


def swift_nodes(group: Ints, nodes: Sequence[NodeArrays], settings: Sequence[Setting]) -> SwiftNodes:
    """Nodes of groups (nodes,), one of each group in `nodes`, each group under the plan of its setting."""
    return SwiftNodes(
        group=group,
        servers=np.stack([node.servers for node in nodes]),
        latency=stacked([node.latency[setting.plan] for node, setting in zip(nodes, settings, strict=True)]),
        slowdown=stacked([node.slowdown for node in nodes]),
        uneven=np.stack([node.contended | node.slowed for node in nodes]),
        slowed=np.stack([node.slowed for node in nodes]),
        slowness=np.stack([node.slowness for node in nodes]),
        overhead_s=np.array([node.overhead_s[0] for node in nodes]),
        transfer_s=np.array([node.transfer_s[0] for node in nodes]),
    )


def stacked(arrays: Sequence[Any]) -> Any:
    """Arrays of the same dimensions as one, zeros where they have no entry."""
    shape = [max(lengths) for lengths in zip(*(array.shape for array in arrays), strict=True)]
    found = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for position, array in enumerate(arrays):
        place: Any = (position, *(slice(length) for length in array.shape))
        found[place] = array
    return found


def rules_of(nodes: Sequence[NodeArrays], settings: Sequence[Setting]) -> Rules:
    """The rules of groups, each under its setting; one node of each in `nodes`."""
    rules = [rule_at(node, 0, setting.numbers) for node, setting in zip(nodes, settings, strict=True)]
    return Rules(
        most_items=np.array([rule.most_items for rule in rules], dtype=np.int64),
        largest=np.array([rule.largest for rule in rules], dtype=np.int64),
        even=np.array([rule.even for rule in rules]),
        offload_from=np.array([rule.offload_from for rule in rules], dtype=np.int64),
    )


def nothing_served(rules: Rules, items: Ints) -> Served:
    """Room for queries of `items` items, wherever they go."""
    count, requests = len(items), requests_at_most(rules, items)
    return Served(
        node=np.empty(count, dtype=np.int64),
        offloaded=np.empty(count, dtype=np.bool_),
        first=np.zeros(count + 1, dtype=np.int64),
        leave_s=np.empty(count),
        start_s=np.empty(requests),
        end_s=np.empty(requests),
    )


@uncounted
def rule_in(rules: Rules, group: int) -> DispatchRule:
    """The rule in force in a group."""
    return DispatchRule(
        rules.most_items[group], 1, rules.largest[group], rules.even[group], rules.offload_from[group], False
    )


@compiled
def requests_at_most(rules: Rules, items: Ints) -> int:
    """Requests that queries of `items` items are where they are most."""
    total = 0
    for n in items:
        most = 0
        for group in range(len(rules.largest)):
            rule = rule_in(rules, group)
            entering = min(n, rule.most_items)
            most = max(most, requests_of(entering, rule.largest, offloads(rule, entering)))
        total += most
    return total


@uncounted
def serve_query(
    nodes: SwiftNodes,
    rules: Rules,
    memory: NodeMemory,
    noise_key: np.uint64,
    node: int,
    reaches_s: float,
    items: int,
    query: int,
    served: Served,
    place: int,
) -> float:
    """Serve a query that reaches a node (rules 4 to 9), the next one of a block, and tell when it leaves."""
    group = nodes.group[node]
    rule = rule_in(rules, group)
    entering = min(items, rule.most_items)
    away = offloads(rule, entering)
    requests = cut(rule, entering, away)
    pool = ACCELERATOR if away else CPU
    row, slowdown, free_s = nodes.latency[group, pool], nodes.slowdown[group, pool], memory.free_s[node, pool]
    servers, overhead_s = nodes.servers[group, pool], nodes.overhead_s[group]
    uneven, slowed = nodes.uneven[group, pool], nodes.slowed[group, pool]
    slowness, phases = nodes.slowness[group], memory.phases[node]
    key = key_of(noise_key, np.uint64(0), query)
    enters_s = reaches_s + nodes.transfer_s[group]
    last_s, begin = enters_s, served.first[place]
    for part in range(requests.requests):
        base_s = request_s(row, request_items(requests, part), uniform(key, part))
        starts_s, ends_s = serve_request(
            enters_s, base_s, overhead_s, free_s, servers, slowdown, uneven, slowed, slowness, phases, pool
        )
        served.start_s[begin + part], served.end_s[begin + part] = starts_s, ends_s
        last_s = max(last_s, ends_s)
    served.node[place], served.offloaded[place], served.leave_s[place] = node, away, last_s
    served.first[place + 1] = begin + requests.requests
    return float(last_s)
