"""Nodes that are served event by event, behind a router that follows state: one run of all their queries."""

from __future__ import annotations

import math

import numpy as np

from deeprec_env.fleet.answers import answers_to
from deeprec_env.fleet.choosing import empty_memory
from deeprec_env.fleet.event_fleet import EventFleet, route_events
from deeprec_env.fleet.ranking import ranking_of
from deeprec_env.fleet.records import FleetRecords, of_group
from deeprec_env.fleet.routed_nodes import router_arrays
from deeprec_env.fleet.slow_keys import all_phases
from deeprec_env.fleet.split_nodes import by_node
from deeprec_env.scenario.router import KernelRule
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import HELD, NodeArrays, empty_state, node_arrays
from deeprec_env.simulation.checks import check_rows, warn_beyond
from deeprec_env.simulation.event_state import PART, EventState, empty_events
from deeprec_env.simulation.node import completion_s, requests_needed
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.simulation.stacked_arrays import StackedArrays, put, room_for, state_at
from deeprec_env.workload.stream import Traffic

_ROOM = 16
"""Queries of every node that there is room for at first."""

_OF_NODES = ("counts", "due_s", "event", "pools", "server", "started_s", "expected_s", "queue")


def run_events(scenario: Scenario, rule: KernelRule, traffic: Traffic) -> FleetRecords:
    """Records of a fleet of any nodes behind a router with a `kernel_rule`, every query completed.

    Raises `InputError` for nodes with a latency that has to be asked in Python.
    """
    assert scenario.fleet is not None
    members, groups, largest = scenario.fleet.members, scenario.group_scenarios, int(traffic.items.max(initial=1))
    for group in groups:
        check_rows(group)
        warn_beyond(group, largest, group.setting)
    nodes = [node_arrays(group, largest) for group in groups]
    router, fleet = router_arrays(scenario, nodes, rule.choice, rule, largest), event_fleet(scenario, nodes, traffic)
    memory = empty_memory(rule, members.size, router.work_scale.shape[1], len(traffic.items))
    answers, key = answers_to(traffic.arrival_s), np.uint64(traffic.noise_key)
    ahead = traffic.arrival_s, traffic.arrival_s + scenario.fleet.network_s, traffic.items, traffic.query
    while not route_events(router, memory, fleet, answers, key, *ahead):
        fleet = fleet._replace(events=_with_more_room(fleet.stack, fleet.events))
    return FleetRecords(
        members,
        fleet.node,
        tuple(_records(scenario, fleet, traffic, node, number) for number, node in enumerate(nodes)),
    )


def _records(scenario: Scenario, fleet: EventFleet, traffic: Traffic, node: NodeArrays, number: int) -> Records:
    """Of a group, the queries of one node after those of the other."""
    assert scenario.fleet is not None
    members, state = scenario.fleet.members, state_at(fleet.states, number, node)
    count = int(state.counts[HELD])
    place = fleet.place[number, :count]
    order, _ = by_node(fleet.node[place] - members.first[number], members.counts[number])
    back_s = completion_s(node, state, 0, count)[order] + scenario.fleet.network_s
    stages = [StageRecords.of_state(node, state, stage, slice(0, count)) for stage in range(len(node.overhead_s))]
    of_nodes = tuple(stage.chosen(order) for stage in stages)
    return of_group(scenario.group_scenarios[number], traffic.chosen(place[order]), back_s, of_nodes)


def event_fleet(scenario: Scenario, nodes: list[NodeArrays], traffic: Traffic) -> EventFleet:
    """The fleet's nodes, idle, with room for all queries of a traffic in every group."""
    assert scenario.fleet is not None
    members, groups, count = scenario.fleet.members, scenario.group_scenarios, len(traffic.items)
    stack = room_for(nodes)
    for position, node in enumerate(nodes):
        put(stack, position, node)
    requests = max(
        requests_needed(node, empty_state(node, 0, 0), traffic.items, group.setting.numbers)
        for node, group in zip(nodes, groups, strict=True)
    )
    states = empty_state(stack.padded, count, requests, (len(nodes),))
    by_query, never = (len(nodes), count), ranking_of(members.size)
    return EventFleet(
        routed=np.zeros(1, dtype=np.int64),
        entered=np.zeros(1, dtype=np.int64),
        stack=stack,
        setting=np.array([group.setting.numbers for group in groups], dtype=np.float64),
        states=states,
        events=empty_events(stack.padded, _ROOM, (members.size,))._replace(
            noise_key=np.empty(by_query, dtype=np.uint64),
            parts=np.empty((len(nodes), states.entry_s.shape[-1]), dtype=PART),
            left=np.empty(by_query, dtype=np.int64),
        ),
        phases=all_phases(nodes, members, traffic.slow_key),
        next=never._replace(score=np.full_like(never.score, math.inf)),
        unsettled_s=np.full(members.size, -math.inf),
        inside=np.zeros(members.size, dtype=np.int64),
        node=np.empty(count, dtype=np.int64),
        place=np.empty(by_query, dtype=np.int64),
    )


def _with_more_room(stack: StackedArrays, events: EventState) -> EventState:
    """The memory with room for twice as many queries of every node."""
    room = 2 * events.queue.shape[-1] // int(np.max(stack.padded.sub_batches))
    larger = empty_events(stack.padded, room, events.counts.shape[:-1])
    for name in _OF_NODES:
        array = getattr(events, name)
        getattr(larger, name)[tuple(slice(length) for length in array.shape)] = array
    return larger._replace(noise_key=events.noise_key, parts=events.parts, left=events.left)
