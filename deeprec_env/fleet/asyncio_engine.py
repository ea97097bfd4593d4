"""The reference engine of a fleet: nodes on virtual-time loops of their own, behind one heap of next events."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace

import numpy as np

from deeprec_env.arguments import whole
from deeprec_env.fleet.draws import draws_of
from deeprec_env.fleet.records import FleetRecords, at_the_router, of_nodes
from deeprec_env.fleet.slow_keys import slow_keys
from deeprec_env.fleet.state import RouterState
from deeprec_env.scenario.router import Known, Routed
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.simulation.loop import ARRIVAL, VirtualTimeLoop
from deeprec_env.workload.stream import Traffic


class _Arrivals:
    """When the next query arrives at the router."""

    next_s = math.inf


class _NodeLoop(VirtualTimeLoop):
    """The loop of a node in a fleet: somebody else takes its events, one by one."""

    def __init__(self, arrivals: _Arrivals) -> None:
        super().__init__()
        self._arrivals = arrivals

    def settled(self) -> bool:
        """A query that arrives at the router now may still be sent here, before servers look at their queues."""
        return super().settled() and self._arrivals.next_s != self.now

    def step(self) -> None:
        """Let the next event happen."""
        event = heapq.heappop(self.events)
        self.now = event[0]
        event[4](event[2], event[3])


class _Node:
    """A node, and the queries on their way to it."""

    def __init__(self, scenario: Scenario, slow_key: int, arrivals: _Arrivals) -> None:
        self.loop = _NodeLoop(arrivals)
        self.engine = AsyncioEngine(scenario, replace(Traffic.nothing(), slow_key=slow_key), loop=self.loop)
        self.sent: list[int] = []  # places in the traffic
        self._on_their_way: list[Traffic] = []
        self._reported = self._arrived = self._shed = 0

    def send(self, place: int, query: Traffic) -> None:
        """Let a query enter, no earlier than those sent before."""
        self.sent.append(place)
        self._on_their_way.append(query)
        self.engine.expect(Traffic.joined(self._on_their_way))

    def step(self) -> list[tuple[int, bool]]:
        """Let the next event happen; the places of the queries that it ended, and whether they were shed."""
        self.loop.step()
        arrived = self.engine.arrived - self._arrived
        del self._on_their_way[:arrived]
        self._arrived += arrived
        ended = [(self.sent[query], False) for query in self.engine.finished[self._reported :]]
        self._reported += len(ended)
        if self.engine.shed > self._shed:
            self._shed = self.engine.shed
            ended.append((self.sent[self.engine.arrived - 1], True))
        return ended


def run_asyncio(scenario: Scenario, traffic: Traffic) -> FleetRecords:
    """Records of a fleet, every query completed: event by event, in the order of rule 6 over all nodes."""
    assert scenario.fleet is not None
    fleet, members, groups = scenario.fleet, scenario.fleet.members, scenario.group_scenarios
    network_s, age_s = fleet.network_s, fleet.probe_age_s
    arrivals = _Arrivals()
    keys = slow_keys(traffic.slow_key, members)
    nodes = [_Node(group, int(key), arrivals) for group, own in zip(groups, keys, strict=True) for key in own]
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
                _note(next_events, node, number)
            continue
        if place == count:
            break
        now_s = arrivals.next_s
        while answers and answers[0][0] <= now_s:
            _, answered, latency_s = heapq.heappop(answers)
            state.answered(int(routed[answered]), int(traffic.items[answered]), latency_s)
        number, items = int(traffic.query[place]), int(traffic.items[place])
        query = Routed(number, now_s, items, draws_of(traffic.noise_key, number))
        chosen = _checked(choose(query, state.known), state.known, fleet.router.kind)
        routed[place] = chosen
        state.sent(chosen, items)
        nodes[chosen].send(place, traffic.part(place, place + 1).at(traffic.arrival_s[place : place + 1] + network_s))
        _note(next_events, nodes[chosen], chosen)
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


def _note(next_events: list[tuple[float, int, int]], node: _Node, number: int) -> None:
    if node.loop.events:
        heapq.heappush(next_events, (*node.loop.events[0][:2], number))


def _checked(chosen: object, known: Known, kind: str) -> int:
    """A node that a user's router chose, if it is one."""
    most = known.members.size - 1
    return whole(f"router {kind}", chosen, 0, most, f"must choose a node from 0 to {most}")
