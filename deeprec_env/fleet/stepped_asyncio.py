"""The reference engine of a fleet whose nodes come and go: event by event, as `asyncio_engine` runs one that stays."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np

from deeprec_env.fleet.asyncio_nodes import Arrivals, LoopNode, checked, note
from deeprec_env.fleet.draws import draws_of
from deeprec_env.fleet.flow import Flow
from deeprec_env.fleet.setting import FleetSetting
from deeprec_env.fleet.slow_keys import slow_keys
from deeprec_env.fleet.state import RouterState
from deeprec_env.fleet.stepped import Segment, SteppedFleet, members_among
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import Choose, Known, Members, Routed
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.loop import ARRIVAL
from deeprec_env.workload.stream import Traffic


class AsyncioSteppedFleet(SteppedFleet):
    """A fleet on virtual-time loops, behind any router, a user's own too.

    The router is shown the nodes that serve, as if there were no others, and starts anew whenever these change.
    """

    def __init__(self, scenario: Scenario, traffic: Traffic) -> None:
        super().__init__(scenario, traffic)
        members = self._fleet.members
        self._arrivals = Arrivals()
        keys = slow_keys(traffic.slow_key, members)
        self._nodes = [
            LoopNode(group, int(key), self._arrivals)
            for group, own in zip(self._groups, keys, strict=True)
            for key in own
        ]
        self._state = RouterState(self._groups, members, int(traffic.items.max(initial=1)))
        self._sent = np.full(len(traffic.items), -1, dtype=np.int64)  # where each query went
        self._place = 0
        self._next_events: list[tuple[float, int, int]] = []
        self._answers: list[tuple[float, int, float]] = []
        self._among = np.empty(0, dtype=np.int64)
        self._members, self._choose = members, self._start(members)

    def _start(self, members: Members) -> Choose:
        return self._fleet.router.start(members)

    @property
    def busy_until_s(self) -> Floats:
        """(nodes,) when the last query of each left it, infinite where one is there."""
        found = np.full(len(self._nodes), -math.inf)
        flow, _ = self._everything()
        np.maximum.at(found, flow.node, flow.leave_s)
        return found

    def _run(self, setting: FleetSetting | None, segments: Sequence[Segment], end_s: float) -> None:
        if setting is not None:
            for number, node in enumerate(self._nodes):
                node.engine.control(setting.settings[self._fleet.members.group[number]])
        for begin, end, nodes in segments:
            if end > begin:
                self._show(nodes)
                self._run_until(self._traffic.arrival_s[end - 1], end)
        self._run_until(end_s, self._place)

    def _show(self, nodes: Ints) -> None:
        """Let the router choose among some nodes."""
        if not np.array_equal(nodes, self._among):
            self._among, self._members = nodes, members_among(self._fleet.members, nodes)
            self._choose = self._start(self._members)

    def _run_until(self, until_s: float, end: int) -> None:
        """Route the queries up to the `end`-th, and let all happen that is due before a time."""
        traffic, network_s, age_s = self._traffic, self._fleet.network_s, self._fleet.probe_age_s
        while True:
            arrival_s = float(traffic.arrival_s[self._place]) if self._place < len(traffic.items) else math.inf
            self._arrivals.next_s = arrival_s
            if self._next_events and self._next_events[0][:2] <= (arrival_s, ARRIVAL):
                if self._next_events[0][0] >= until_s and self._place == end:
                    return
                self._step(network_s, age_s)
            elif self._place < end:
                self._route(arrival_s)
            else:
                return

    def _step(self, network_s: float, age_s: float) -> None:
        time_s, kind, number = heapq.heappop(self._next_events)
        node = self._nodes[number]
        if not (node.loop.events and node.loop.events[0][:2] == (time_s, kind)):
            return  # it no longer holds
        for ended, shed in node.step():
            answered_s = node.loop.now + network_s
            latency_s = math.nan if shed else answered_s - float(self._traffic.arrival_s[ended])
            heapq.heappush(self._answers, (answered_s + age_s, ended, latency_s))
        note(self._next_events, node, number)

    def _route(self, now_s: float) -> None:
        traffic, place = self._traffic, self._place
        while self._answers and self._answers[0][0] <= now_s:
            _, answered, latency_s = heapq.heappop(self._answers)
            self._state.answered(int(self._sent[answered]), int(traffic.items[answered]), latency_s)
        number, items = int(traffic.query[place]), int(traffic.items[place])
        known, among = self._state.known, self._among
        shown = Known(
            self._members, known.in_flight[among], known.work_s[among], known.latency_s[among], known.chosen[among]
        )
        query = Routed(number, now_s, items, draws_of(traffic.noise_key, number))
        chosen = int(among[checked(self._choose(query, shown), shown, self._fleet.router.kind)])
        self._sent[place] = chosen
        self._state.sent(chosen, items)
        enters_s = traffic.arrival_s[place : place + 1] + self._fleet.network_s
        self._nodes[chosen].send(place, traffic.part(place, place + 1).at(enters_s))
        note(self._next_events, self._nodes[chosen], chosen)
        self._place += 1

    def _flow(self, begin_s: float) -> Flow:
        return self._everything()[0]

    def _everything(self) -> tuple[Flow, Floats]:
        each, places, settings = [], [], []
        for number, node in enumerate(self._nodes):
            records = node.engine.records()
            (stage,), sent = records.stages, np.array(node.sent[: len(records)], dtype=np.int64)
            each.append(
                Flow(
                    records.query,
                    self._traffic.arrival_s[sent],
                    records.items,
                    np.full(len(records), number, dtype=np.int64),
                    stage.offloaded,
                    records.completion_s,
                    stage.first,
                    stage.start_s,
                    stage.end_s,
                )
            )
            places.append(sent)
            settings.append(records.setting)
        order = np.argsort(np.concatenate(places), kind="stable")
        return Flow.joined(each).chosen(order), np.concatenate(settings)[order]

    def close(self) -> None:
        """Close the nodes' loops."""
        for node in self._nodes:
            node.engine.close()
