"""The nodes of a fleet's reference engines: virtual-time loops of their own, whose events somebody else takes."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace

from deeprec_env.arguments import whole
from deeprec_env.scenario.router import Known
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.simulation.loop import VirtualTimeLoop
from deeprec_env.workload.stream import Traffic


class Arrivals:
    """When the next query arrives at the router."""

    next_s = math.inf


class _NodeLoop(VirtualTimeLoop):
    """The loop of a node in a fleet: somebody else takes its events, one by one."""

    def __init__(self, arrivals: Arrivals) -> None:
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


class LoopNode:
    """A node, and the queries on their way to it."""

    def __init__(self, scenario: Scenario, slow_key: int, arrivals: Arrivals) -> None:
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


def note(next_events: list[tuple[float, int, int]], node: LoopNode, number: int) -> None:
    """Let a node's next event be among those of all nodes."""
    if node.loop.events:
        heapq.heappush(next_events, (*node.loop.events[0][:2], number))


def checked(chosen: object, known: Known, kind: str) -> int:
    """A node that a user's router chose, if it is one."""
    most = known.members.size - 1
    return whole(f"router {kind}", chosen, 0, most, f"must choose a node from 0 to {most}")
