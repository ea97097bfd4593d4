"""The compiled engine of a fleet: the same floats as the reference, in blocks of the traffic.

Routers that are blind to state split a block, and every node serves its part by itself; for the others one loop over
the arrivals goes around the nodes' recursion (`routed_nodes`).
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.fleet.draws import draws_of_all
from deeprec_env.fleet.records import FleetRecords, at_the_router, of_nodes
from deeprec_env.fleet.routed_nodes import RoutedNodes
from deeprec_env.fleet.split_nodes import by_node, serve_nodes
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.admission import admit_all
from deeprec_env.simulation.arrays import all_rows, empty_state, node_arrays
from deeprec_env.simulation.kernel_choice import kernel_for
from deeprec_env.simulation.node import completion_s
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.stream import Traffic


class CompiledFleet:
    """A fleet that takes its traffic block by block, in order; of several blocks every node has to be `swift`.

    Raises `InputError` for a router and nodes that only the reference engine can run.
    """

    def __init__(self, scenario: Scenario, *, in_blocks: bool = False) -> None:
        assert scenario.fleet is not None
        self._scenario, self._fleet = scenario, scenario.fleet
        self._groups = [_SplitGroup(group, count) for group, count in zip(
            scenario.group_scenarios, scenario.fleet.members.counts, strict=True
        )]  # fmt: skip
        self._before = np.zeros(len(self._groups) + 1, dtype=np.int64)
        router = scenario.fleet.router
        if in_blocks:
            self._check_swift("is not served in one stage by the recursion: use fewer queries, which are run at once")
        self._routed: RoutedNodes | None = None
        if not router.blind:
            rule = router.kernel_rule()
            if rule is None:
                raise InputError("fleet.router", router.kind, "follows state in Python: use engine asyncio")
            self._check_swift(f"is not served in one stage by the recursion: behind {router.kind} use engine asyncio")
            self._routed = RoutedNodes(scenario, rule)

    def _check_swift(self, allowed: str) -> None:
        for name, group in zip(self._fleet.members.names, self._scenario.group_scenarios, strict=True):
            if not swift(group):
                raise InputError("fleet.groups", name, allowed)

    def run(self, traffic: Traffic) -> FleetRecords:
        """Records of the next block, every query completed."""
        if self._routed is not None:
            return self._routed.run(traffic)
        members, fleet = self._fleet.members, self._fleet
        draw = draws_of_all(traffic.noise_key, traffic.query)
        node = fleet.router.assign(traffic.query, traffic.items, self._before, draw, members)
        order, bounds = by_node(_checked(node, members.size, len(traffic.items), fleet.router.kind), members.size)
        found = []
        for number, group in enumerate(self._groups):
            own = bounds[members.first[number] : members.first[number + 1] + 1]
            chosen = traffic.chosen(order[own[0] : own[-1]])
            records = group.run(chosen.at(chosen.arrival_s + fleet.network_s), own - own[0])
            found.append(at_the_router(records, chosen.arrival_s, fleet.network_s))
            self._before[number] += len(chosen.items)
        self._before[-1] += len(traffic.items)
        return FleetRecords(members, node, tuple(found))


def swift(scenario: Scenario) -> bool:
    """Whether all that happens to a query is known when it arrives: one stage, which the recursion serves."""
    alone = len(scenario.stages) == 1 and scenario.sub_batches == 1
    return alone and kernel_for(scenario) == "recursion" and all_rows(scenario)


def _checked(node: Ints, nodes: int, queries: int, kind: str) -> Ints:
    """What a user's router assigned, if it is one node for each query."""
    if np.shape(node) != (queries,) or (queries and not 0 <= np.min(node) <= np.max(node) < nodes):
        raise InputError(f"router {kind}", f"shape {np.shape(node)}", f"must assign nodes from 0 to {nodes - 1}")
    return node


class _SplitGroup:
    """The nodes of a group, each with its own part of the traffic."""

    def __init__(self, scenario: Scenario, count: int) -> None:
        self._scenario = scenario
        self._node = node_arrays(scenario)
        pools, servers = self._node.slowdown.shape
        self._free_s: Floats = np.full((count, pools, servers - 1), -math.inf)

    def run(self, traffic: Traffic, bounds: Ints) -> Records:
        """Records of a block, node by node; the n-th node's queries begin at `bounds[n]`."""
        scenario, count = self._scenario, len(traffic.items)
        if kernel_for(scenario) == "events":
            parts = [traffic.part(begin, end) for begin, end in pairwise(bounds.tolist()) if end > begin]
            records = [run(scenario, part) for part in parts]
            return of_nodes(records, len(scenario.stages), scenario.controls)
        state = admit_all(scenario, self._node, empty_state(self._node, 0, 0), traffic)
        serve_nodes(self._node, state, self._free_s, bounds)
        return Records(
            0,
            traffic.query,
            traffic.arrival_s,
            traffic.items,
            state.setting[:count],
            completion_s(self._node, state, 0, count),
            tuple(
                StageRecords.of_state(self._node, state, stage, slice(0, count))
                for stage in range(len(scenario.stages))
            ),
            scenario.controls,
        )
