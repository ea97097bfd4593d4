"""The reference engine of a fleet: nodes on virtual-time loops of their own, behind one heap of next events."""

from __future__ import annotations

import heapq
import math

import numpy as np

from deeprec_env.fleet.asyncio_nodes import Arrivals, LoopNode, checked, note
from deeprec_env.fleet.draws import draws_of
from deeprec_env.fleet.records import FleetRecords, at_the_router, of_nodes
from deeprec_env.fleet.slow_keys import slow_keys
from deeprec_env.fleet.state import RouterState
from deeprec_env.scenario.router import Routed
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.loop import ARRIVAL
from deeprec_env.workload.stream import Traffic


def run_asyncio(scenario: Scenario, traffic: Traffic) -> FleetRecords:
    """Records of a fleet, every query completed: event by event, in the order of rule 6 over all nodes."""
    assert scenario.fleet is not None
    fleet, members, groups = scenario.fleet, scenario.fleet.members, scenario.group_scenarios
    network_s, age_s = fleet.network_s, fleet.probe_age_s
    arrivals = Arrivals()
    keys = slow_keys(traffic.slow_key, members)
    nodes = [LoopNode(group, int(key), arrivals) for group, own in zip(groups, keys, strict=True) for key in own]
    state = RouterState(groups, members, int(traffic.items.max(initial=1)))
    choose = fleet.router.start(members)
    routed = np.empty(len(traffic.items), dtype=np.int64)
    next_events: list[tuple[float, int, int]] = []  # of each node; what no longer holds is skipped
    answers: list[tuple[float, int, float]] = []  # when the router knows of them, place, latency
    place, count = 0, len(traffic.items)
    while True:
        arrivals.next_s = float(traffic.arrival_s[place]) if place < count else math.inf
        if next_events and next_events[0][:2] <= (arrivals.next_s, ARRIVAL):
            time_s, kind, number = heapq.heappop(next_events)
            node = nodes[number]
            if node.loop.events and node.loop.events[0][:2] == (time_s, kind):
                for ended, shed in node.step():
                    answered_s = node.loop.now + network_s
                    latency_s = math.nan if shed else answered_s - float(traffic.arrival_s[ended])
                    heapq.heappush(answers, (answered_s + age_s, ended, latency_s))
                note(next_events, node, number)
            continue
        if place == count:
            break
        now_s = arrivals.next_s
        while answers and answers[0][0] <= now_s:
            _, answered, latency_s = heapq.heappop(answers)
            state.answered(int(routed[answered]), int(traffic.items[answered]), latency_s)
        number, items = int(traffic.query[place]), int(traffic.items[place])
        query = Routed(number, now_s, items, draws_of(traffic.noise_key, number))
        chosen = checked(choose(query, state.known), state.known, fleet.router.kind)
        routed[place] = chosen
        state.sent(chosen, items)
        nodes[chosen].send(place, traffic.part(place, place + 1).at(traffic.arrival_s[place : place + 1] + network_s))
        note(next_events, nodes[chosen], chosen)
        place += 1
    found = []
    for group, of_group in enumerate(groups):
        own = nodes[members.first[group] : members.first[group + 1]]
        records = of_nodes([node.engine.records() for node in own], len(of_group.stages), of_group.controls)
        sent = [place for node in own for place in node.sent]
        found.append(at_the_router(records, traffic.arrival_s[sent], network_s))
    for node in nodes:
        node.engine.close()
    return FleetRecords(members, routed, tuple(found))
