"""Nodes behind a router that follows state: their memory between blocks, around one compiled loop over arrivals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deeprec_env.fleet.answers import Answers, no_answers
from deeprec_env.fleet.choosing import CHOICES, DUE, LEAST_WORK, RouterArrays, RouterMemory, empty_memory
from deeprec_env.fleet.kernel import FleetArrays, NodeMemory, Served, requests_at_most, route
from deeprec_env.fleet.records import FleetRecords, of_group
from deeprec_env.fleet.slow_keys import all_phases
from deeprec_env.fleet.split_nodes import by_node
from deeprec_env.fleet.work import work_scale, work_table
from deeprec_env.scenario.router import KernelRule
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import NodeArrays, node_arrays
from deeprec_env.simulation.records import StageRecords
from deeprec_env.simulation.splitting import rule_at
from deeprec_env.workload.stream import Traffic


class RoutedNodes:
    """A fleet of nodes that the recursion serves in one stage, behind a router with a `kernel_rule`."""

    def __init__(self, scenario: Scenario, rule: KernelRule) -> None:
        assert scenario.fleet is not None
        self._scenario, self._fleet, self._rule = scenario, scenario.fleet, rule
        self._nodes = [node_arrays(group) for group in scenario.group_scenarios]
        self._arrays = fleet_arrays(scenario, self._nodes)
        self._router: RouterArrays | None = None
        self._largest = 0
        self._memory: RouterMemory = empty_memory(rule, self._fleet.members.size, 2)
        self._state: NodeMemory | None = None
        self._answers: Answers = no_answers(0)

    def run(self, traffic: Traffic) -> FleetRecords:
        """Records of the next block, every query completed."""
        router, count = self._router_for(int(traffic.items.max(initial=1))), len(traffic.items)
        if self._state is None:
            self._state = self._idle(traffic.slow_key)
        due = int(self._memory.counts[DUE])
        if len(self._answers.place) < due + count:
            self._answers = no_answers(due + count, self._answers, due)
        requests = requests_at_most(self._arrays, traffic.items)
        served = Served(
            node=np.empty(count, dtype=np.int64),
            offloaded=np.empty(count, dtype=np.bool_),
            first=np.zeros(count + 1, dtype=np.int64),
            leave_s=np.empty(count),
            start_s=np.empty(requests),
            end_s=np.empty(requests),
        )
        ahead = np.uint64(traffic.noise_key), traffic.arrival_s, traffic.items, traffic.query
        route(router, self._memory, self._arrays, self._state, self._answers, *ahead, served)
        return self._records(traffic, served)

    def _router_for(self, largest: int) -> RouterArrays:
        if self._router is None or largest > self._largest:
            self._largest = largest
            self._router = router_arrays(self._scenario, self._nodes, self._rule, largest)
        return self._router

    def _idle(self, slow_key: int) -> NodeMemory:
        """The nodes before the first query."""
        members, servers = self._fleet.members, max(node.slowdown.shape[1] - 1 for node in self._nodes)
        free_s = np.full((members.size, 2, servers), -math.inf)
        return NodeMemory(free_s, all_phases(self._nodes, members, slow_key))

    def _records(self, traffic: Traffic, served: Served) -> FleetRecords:
        members = self._fleet.members
        order, bounds = by_node(served.node, members.size)
        back_s = served.leave_s + self._fleet.network_s
        requests = StageRecords(served.offloaded, served.first, served.start_s, served.end_s)
        found = []
        for number, group in enumerate(self._scenario.group_scenarios):
            chosen = order[bounds[members.first[number]] : bounds[members.first[number + 1]]]
            found.append(of_group(group, traffic.chosen(chosen), back_s[chosen], (requests.chosen(chosen),)))
        return FleetRecords(members, served.node, tuple(found))


def fleet_arrays(scenario: Scenario, nodes: list[NodeArrays]) -> FleetArrays:
    """The fleet's nodes as the kernel takes them."""
    groups = scenario.group_scenarios
    rules = [rule_at(node, 0, group.setting.numbers) for node, group in zip(nodes, groups, strict=True)]
    return FleetArrays(
        servers=np.stack([node.servers for node in nodes]),
        latency=_stacked([node.latency[group.setting.plan] for node, group in zip(nodes, groups, strict=True)]),
        slowdown=_stacked([node.slowdown for node in nodes]),
        uneven=np.stack([node.contended | node.slowed for node in nodes]),
        slowed=np.stack([node.slowed for node in nodes]),
        slowness=np.stack([node.slowness for node in nodes]),
        overhead_s=np.array([node.overhead_s[0] for node in nodes]),
        transfer_s=np.array([node.transfer_s[0] for node in nodes]),
        most_items=np.array([rule.most_items for rule in rules], dtype=np.int64),
        largest=np.array([rule.largest for rule in rules], dtype=np.int64),
        even=np.array([rule.even for rule in rules]),
        offload_from=np.array([rule.offload_from for rule in rules], dtype=np.int64),
    )


def router_arrays(scenario: Scenario, nodes: list[NodeArrays], rule: KernelRule, largest: int) -> RouterArrays:
    """The fleet's router as kernels take it, for queries of at most `largest` items."""
    assert scenario.fleet is not None
    groups, choice = scenario.group_scenarios, CHOICES.index(rule.choice)
    tables = [
        work_table(group, node, largest) if choice == LEAST_WORK else np.zeros((1, len(node.servers)), dtype=np.int64)
        for node, group in zip(nodes, groups, strict=True)
    ]
    return RouterArrays(
        group=scenario.fleet.members.group,
        work_ns=_stacked(tables),
        work_scale=_stacked([work_scale(node) for node in nodes]),
        network_s=scenario.fleet.network_s,
        age_s=scenario.fleet.probe_age_s,
        choice=choice,
        every_s=rule.every_s,
        hot=rule.hot,
    )


def _stacked(arrays: list[Any]) -> Any:
    """Arrays of the same dimensions as one, zeros where they have no entry."""
    shape = [max(lengths) for lengths in zip(*(array.shape for array in arrays), strict=True)]
    stacked = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for position, array in enumerate(arrays):
        place: Any = (position, *(slice(length) for length in array.shape))
        stacked[place] = array
    return stacked
