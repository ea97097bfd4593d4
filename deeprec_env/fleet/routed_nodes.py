"""Nodes behind a router that follows state: their memory between blocks, around one compiled loop over arrivals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deeprec_env.fleet.answers import Answers, no_answers
from deeprec_env.fleet.kernel import CHOICES, DUE, FleetArrays, FleetState, Served, requests_at_most, route
from deeprec_env.fleet.ranking import ranking_of
from deeprec_env.fleet.records import FleetRecords
from deeprec_env.fleet.split_nodes import by_node
from deeprec_env.fleet.work import work_scale, work_table
from deeprec_env.scenario.parts import Ints
from deeprec_env.scenario.router import KernelRule
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import NodeArrays, node_arrays
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.simulation.splitting import rule_at
from deeprec_env.workload.stream import Traffic


class RoutedNodes:
    """A fleet of nodes that the recursion serves in one stage, behind a router with a `kernel_rule`."""

    def __init__(self, scenario: Scenario, rule: KernelRule) -> None:
        assert scenario.fleet is not None
        self._scenario, self._fleet, self._rule = scenario, scenario.fleet, rule
        self._nodes = [node_arrays(group) for group in scenario.group_scenarios]
        self._arrays: FleetArrays | None = None
        self._largest = 0
        nodes, pools = self._fleet.members.size, 2
        servers = max(node.slowdown.shape[1] - 1 for node in self._nodes)
        self._state = FleetState(
            counts=np.zeros(3, dtype=np.int64),
            free_s=np.full((nodes, pools, servers), -math.inf),
            ranking=ranking_of(nodes),
            in_flight=np.zeros(nodes, dtype=np.int64),
            ahead_ns=np.zeros((nodes, pools), dtype=np.int64),
            latency_s=np.zeros(nodes),
            probed=np.zeros(min(rule.draws, nodes), dtype=np.int64),
            until_s=np.full(1, -math.inf),
        )
        self._answers: Answers = no_answers(0)

    def run(self, traffic: Traffic) -> FleetRecords:
        """Records of the next block, every query completed."""
        arrays, count = self._arrays_for(int(traffic.items.max(initial=1))), len(traffic.items)
        due = int(self._state.counts[DUE])
        if len(self._answers.place) < due + count:
            self._answers = no_answers(due + count, self._answers, due)
        requests = requests_at_most(arrays, traffic.items)
        served = Served(
            node=np.empty(count, dtype=np.int64),
            offloaded=np.empty(count, dtype=np.bool_),
            first=np.zeros(count + 1, dtype=np.int64),
            leave_s=np.empty(count),
            start_s=np.empty(requests),
            end_s=np.empty(requests),
        )
        ahead = traffic.arrival_s, traffic.items, traffic.query
        route(arrays, self._state, self._answers, np.uint64(traffic.noise_key), *ahead, served)
        return self._records(traffic, served)

    def _arrays_for(self, largest: int) -> FleetArrays:
        if self._arrays is None or largest > self._largest:
            self._largest = largest
            self._arrays = fleet_arrays(self._scenario, self._nodes, self._rule, largest)
        return self._arrays

    def _records(self, traffic: Traffic, served: Served) -> FleetRecords:
        members = self._fleet.members
        order, bounds = by_node(served.node, members.size)
        back_s = served.leave_s + self._fleet.network_s
        found = []
        for number, group in enumerate(self._scenario.group_scenarios):
            chosen = order[bounds[members.first[number]] : bounds[members.first[number + 1]]]
            found.append(
                Records(
                    0,
                    traffic.query[chosen],
                    traffic.arrival_s[chosen],
                    traffic.items[chosen],
                    np.broadcast_to(np.array(group.setting.numbers), (len(chosen), len(group.setting.numbers))),
                    back_s[chosen],
                    (_requests_of(served, chosen),),
                    group.controls,
                )
            )
        return FleetRecords(members, served.node, tuple(found))


def _requests_of(served: Served, chosen: Ints) -> StageRecords:
    """The requests of some of the queries, in the order given."""
    begins, ends = served.first[chosen], served.first[chosen + 1]
    first = np.concatenate([[0], np.cumsum(ends - begins)])
    requests = np.repeat(begins - first[:-1], ends - begins) + np.arange(first[-1])
    return StageRecords(served.offloaded[chosen], first, served.start_s[requests], served.end_s[requests])


def fleet_arrays(scenario: Scenario, nodes: list[NodeArrays], rule: KernelRule, largest: int) -> FleetArrays:
    """The fleet as the kernel takes it, for queries of at most `largest` items."""
    assert scenario.fleet is not None
    groups, choice = scenario.group_scenarios, CHOICES.index(rule.choice)
    rules = [rule_at(node, 0, group.setting.numbers) for node, group in zip(nodes, groups, strict=True)]
    needs_work = rule.choice == "least-work"
    tables = [
        work_table(group, node, largest) if needs_work else np.zeros((1, 2), dtype=np.int64)
        for node, group in zip(nodes, groups, strict=True)
    ]
    return FleetArrays(
        group=scenario.fleet.members.group,
        servers=np.stack([node.servers for node in nodes]),
        latency=_stacked([node.latency[group.setting.plan] for node, group in zip(nodes, groups, strict=True)]),
        slowdown=_stacked([node.slowdown for node in nodes]),
        contended=np.stack([node.contended for node in nodes]),
        overhead_s=np.array([node.overhead_s[0] for node in nodes]),
        transfer_s=np.array([node.transfer_s[0] for node in nodes]),
        most_items=np.array([rule.most_items for rule in rules], dtype=np.int64),
        largest=np.array([rule.largest for rule in rules], dtype=np.int64),
        even=np.array([rule.even for rule in rules]),
        offload_from=np.array([rule.offload_from for rule in rules], dtype=np.int64),
        work_ns=np.stack(tables),
        work_scale=np.stack([work_scale(node) for node in nodes]),
        network_s=scenario.fleet.network_s,
        age_s=scenario.fleet.probe_age_s,
        choice=choice,
        draws=rule.draws,
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
