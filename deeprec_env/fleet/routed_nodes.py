"""Nodes behind a router that follows state: their memory between blocks, around one compiled loop over arrivals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deeprec_env.fleet.answers import Answers, answers_to
from deeprec_env.fleet.choosing import CHOICES, RouterArrays, RouterMemory, empty_memory
from deeprec_env.fleet.fewest import fewest_of
from deeprec_env.fleet.kernel import route
from deeprec_env.fleet.records import FleetRecords, of_group
from deeprec_env.fleet.slow_keys import all_phases
from deeprec_env.fleet.split_nodes import bounds_of, served_by_node, traffic_by_node
from deeprec_env.fleet.swift_nodes import NodeMemory, Served, nothing_served, rules_of, stacked, swift_nodes
from deeprec_env.fleet.work import work_scale, work_table
from deeprec_env.scenario.router import KernelRule
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import NodeArrays, node_arrays
from deeprec_env.simulation.records import StageRecords
from deeprec_env.workload.stream import Traffic


class RoutedNodes:
    """A fleet of nodes that the recursion serves in one stage, behind a router with a `kernel_rule`."""

    def __init__(self, scenario: Scenario, rule: KernelRule) -> None:
        assert scenario.fleet is not None
        self._scenario, self._fleet, self._rule = scenario, scenario.fleet, rule
        self._nodes = [node_arrays(group) for group in scenario.group_scenarios]
        settings = [group.setting for group in scenario.group_scenarios]
        self._arrays = swift_nodes(scenario.fleet.members.group, self._nodes, settings)
        self._rules = rules_of(self._nodes, settings)
        self._router: RouterArrays | None = None
        self._largest = 0
        self._memory: RouterMemory = empty_memory(rule, self._fleet.members.size, 2, 0)
        self._state: NodeMemory | None = None
        self._answers: Answers | None = None

    def run(self, traffic: Traffic) -> FleetRecords:
        """Records of the next block, every query completed."""
        router = self._router_for(int(traffic.items.max(initial=1)))
        if self._state is None:
            self._state = self._idle(traffic.slow_key)
        fewest = fewest_of(self._fleet.members.size, len(traffic.items), self._memory.fewest)
        self._memory = self._memory._replace(fewest=fewest)
        self._answers = answers_to(traffic.arrival_s, self._answers)
        served = nothing_served(self._rules, traffic.items)
        ahead = np.uint64(traffic.noise_key), traffic.arrival_s, traffic.items, traffic.query
        route(router, self._memory, self._arrays, self._rules, self._state, self._answers, *ahead, served)
        return self._records(traffic, served)

    def _router_for(self, largest: int) -> RouterArrays:
        if self._router is None or largest > self._largest:
            self._largest = largest
            self._router = router_arrays(self._scenario, self._nodes, self._rule.choice, self._rule, largest)
        return self._router

    def _idle(self, slow_key: int) -> NodeMemory:
        """The nodes before the first query."""
        members, servers = self._fleet.members, max(node.slowdown.shape[1] - 1 for node in self._nodes)
        free_s = np.full((members.size, 2, servers), -math.inf)
        return NodeMemory(free_s, all_phases(self._nodes, members, slow_key))

    def _records(self, traffic: Traffic, served: Served) -> FleetRecords:
        members = self._fleet.members
        bounds = bounds_of(served.node, members.size)
        ordered, done, found = traffic_by_node(traffic, served.node, bounds), served_by_node(served, bounds), []
        for number, group in enumerate(self._scenario.group_scenarios):
            begin, end = int(bounds[members.first[number]]), int(bounds[members.first[number + 1]])
            first = done.first[begin : end + 1]
            requests = slice(int(first[0]), int(first[-1]))
            stage = StageRecords(
                done.offloaded[begin:end], first - first[0], done.start_s[requests], done.end_s[requests]
            )
            back_s = done.leave_s[begin:end] + self._fleet.network_s
            found.append(of_group(group, ordered.part(begin, end), back_s, (stage,)))
        return FleetRecords(members, served.node, tuple(found))


def router_arrays(
    scenario: Scenario, nodes: Sequence[NodeArrays], choice: str, rule: KernelRule | None, largest: int
) -> RouterArrays:
    """The fleet's router as kernels take it, one of `CHOICES`, for queries of at most `largest` items."""
    assert scenario.fleet is not None
    tables = [
        work_table(group, node, largest) if choice == "least-work" else np.zeros((1, len(node.servers)), dtype=np.int64)
        for node, group in zip(nodes, scenario.group_scenarios, strict=True)
    ]
    return RouterArrays(
        group=scenario.fleet.members.group,
        work_ns=stacked(tables),
        work_scale=stacked([work_scale(node) for node in nodes]),
        network_s=scenario.fleet.network_s,
        age_s=scenario.fleet.probe_age_s,
        choice=CHOICES.index(choice),
        every_s=0.0 if rule is None else rule.every_s,
        hot=1.0 if rule is None else rule.hot,
    )
