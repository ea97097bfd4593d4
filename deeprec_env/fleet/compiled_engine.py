"""The compiled engine of a fleet: the same floats as the reference, in blocks of the traffic.

Routers that are blind to state split a block, and every node serves its part by itself; for the others one loop over
the arrivals goes around the nodes' recursion (`routed_nodes`), or around nodes that go on event by event
(`event_nodes`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.fleet.draws import draws_of_all
from deeprec_env.fleet.event_nodes import run_events
from deeprec_env.fleet.records import FleetRecords, at_the_router
from deeprec_env.fleet.routed_nodes import RoutedNodes
from deeprec_env.fleet.slow_keys import phases_of, slow_keys
from deeprec_env.fleet.split_nodes import bounds_of, serve_nodes, serve_nodes_events, traffic_by_node
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import KernelRule
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.admission import admit_all
from deeprec_env.simulation.arrays import NodeState, all_rows, empty_state, node_arrays
from deeprec_env.simulation.checks import check_rows, warn_beyond
from deeprec_env.simulation.event_kernel import admit_unserved
from deeprec_env.simulation.event_state import empty_events
from deeprec_env.simulation.kernel_choice import kernel_for
from deeprec_env.simulation.node import completion_s, requests_needed
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.workload.noise import Keys
from deeprec_env.workload.stream import Traffic


class CompiledFleet:
    """A fleet that takes its traffic block by block, in order; of several blocks every node has to be `swift`.

    Raises `InputError` for a router and nodes that only the reference engine can run.
    """

    def __init__(self, scenario: Scenario, *, in_blocks: bool = False) -> None:
        assert scenario.fleet is not None
        self._scenario, self._fleet = scenario, scenario.fleet
        router, all_swift = scenario.fleet.router, all(map(swift, scenario.group_scenarios))
        if in_blocks:
            self._check_swift()
        rule = None if router.blind else router.kernel_rule()
        if rule is None and not router.blind:
            raise InputError("fleet.router", router.kind, "follows state in Python: use engine asyncio")
        self._rule: KernelRule | None = rule
        self._routed = None if rule is None or not all_swift else RoutedNodes(scenario, rule)
        groups = zip(scenario.group_scenarios, scenario.fleet.members.counts, strict=True)
        self._groups = [_SplitGroup(group, count) for group, count in groups] if rule is None else []
        self._before = np.zeros(len(scenario.group_scenarios) + 1, dtype=np.int64)

    def _check_swift(self) -> None:
        allowed = "is not served in one stage by the recursion: use fewer queries, which are run at once"
        for name, group in zip(self._fleet.members.names, self._scenario.group_scenarios, strict=True):
            if not swift(group):
                raise InputError("fleet.groups", name, allowed)

    def run(self, traffic: Traffic) -> FleetRecords:
        """Records of the next block, every query completed."""
        if self._routed is not None:
            return self._routed.run(traffic)
        if self._rule is not None:
            return run_events(self._scenario, self._rule, traffic)
        members, fleet = self._fleet.members, self._fleet
        draw = draws_of_all(traffic.noise_key, traffic.query)
        node = fleet.router.assign(traffic.query, traffic.items, self._before, draw, members)
        _check(node, members.size, len(traffic.items), fleet.router.kind)
        bounds = bounds_of(node, members.size)
        ordered = traffic_by_node(traffic, node, bounds)
        keys, found = slow_keys(traffic.slow_key, members), []
        for number, group in enumerate(self._groups):
            own = bounds[members.first[number] : members.first[number + 1] + 1]
            chosen = ordered.part(int(own[0]), int(own[-1]))
            records = group.run(chosen.at(chosen.arrival_s + fleet.network_s), own - own[0], keys[number])
            found.append(at_the_router(records, chosen.arrival_s, fleet.network_s))
            self._before[number] += len(chosen.items)
        self._before[-1] += len(traffic.items)
        return FleetRecords(members, node, tuple(found))


def swift(scenario: Scenario) -> bool:
    """Whether all that happens to a query is known when it arrives: one stage, which the recursion serves."""
    alone = len(scenario.stages) == 1 and scenario.sub_batches == 1
    return alone and kernel_for(scenario) == "recursion" and all_rows(scenario)


def _check(node: Ints, nodes: int, queries: int, kind: str) -> None:
    """Raise `InputError` unless what a user's router assigned is one node for each query."""
    if np.shape(node) != (queries,) or (queries and not 0 <= np.min(node) <= np.max(node) < nodes):
        raise InputError(f"router {kind}", f"shape {np.shape(node)}", f"must assign nodes from 0 to {nodes - 1}")


class _SplitGroup:
    """The nodes of a group, each with its own part of the traffic."""

    def __init__(self, scenario: Scenario, count: int) -> None:
        self._scenario = scenario
        self._node = node_arrays(scenario)
        pools, servers = self._node.slowdown.shape
        self._free_s: Floats = np.full((count, pools, servers - 1), -math.inf)
        self._phases: NDArray[Any] | None = None

    def run(self, traffic: Traffic, bounds: Ints, keys: Keys) -> Records:
        """Records of a block, node by node; the n-th node's queries begin at `bounds[n]`, `keys[n]` is its slow key."""
        scenario, count = self._scenario, len(traffic.items)
        if self._phases is None:
            self._phases = phases_of(self._node, keys)
        if kernel_for(scenario) == "events":
            state = self._serve_events(traffic, bounds, self._phases)
        else:
            state = admit_all(scenario, self._node, empty_state(self._node, 0, 0), traffic)
            serve_nodes(self._node, state, self._free_s, self._phases, bounds)
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

    def _serve_events(self, traffic: Traffic, bounds: Ints, phases: NDArray[Any]) -> NodeState:
        """The state of the nodes with all queries served event by event."""
        scenario, setting = self._scenario, self._scenario.setting
        check_rows(scenario)
        largest = int(traffic.items.max(initial=0))
        warn_beyond(scenario, largest, setting)
        self._node = node = node_arrays(scenario, largest)
        requests = requests_needed(node, empty_state(node, 0, 0), traffic.items, setting.numbers)
        state, events = empty_state(node, len(traffic.items), requests), empty_events(node, len(traffic.items))
        ahead = traffic.arrival_s, traffic.items, traffic.query
        admit_unserved(node, state, events, np.uint64(traffic.noise_key), *ahead, setting.numbers)
        serve_nodes_events(node, state, events, int(setting.numbers.order), phases, bounds)
        return state
