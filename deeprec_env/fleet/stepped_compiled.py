"""The compiled engine of a fleet whose nodes come and go."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.fleet.answers import Answers, answers_to
from deeprec_env.fleet.choosing import CHOICES, LEAST_REQUESTS, LEAST_WORK, ROUND_ROBIN
from deeprec_env.fleet.flow import Flow
from deeprec_env.fleet.ranking import ranking_of
from deeprec_env.fleet.routed_nodes import router_arrays
from deeprec_env.fleet.setting import FleetSetting
from deeprec_env.fleet.stepped import Segment, SteppedFleet, members_among
from deeprec_env.fleet.stepped_kernel import Among, SteppedState, rank_among, route_among
from deeprec_env.fleet.swift_nodes import NodeMemory, Rules, nothing_served, rules_of, swift_nodes
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import all_rows, node_arrays
from deeprec_env.simulation.phase_rows import PHASE
from deeprec_env.workload.stream import Traffic


class CompiledSteppedFleet(SteppedFleet):
    """A fleet in compiled code, behind any of this package's routers.

    Raises `InputError` for another router, and for a latency that has to be asked in Python.
    """

    def __init__(self, scenario: Scenario, traffic: Traffic) -> None:
        super().__init__(scenario, traffic)
        for name, group in zip(self._fleet.members.names, self._groups, strict=True):
            if not all_rows(group):
                raise InputError("fleet.groups", name, "has a latency that is asked in Python: use engine asyncio")
        self._nodes = [node_arrays(group) for group in self._groups]
        members, router = self._fleet.members, self._fleet.router
        if router.kind not in CHOICES:
            raise InputError("fleet.router", router.kind, "is asked in Python: use engine asyncio")
        rule = router.kernel_rule()
        self._drawn = 0 if rule is None else rule.draws
        self._router = router_arrays(scenario, self._nodes, router.kind, rule, int(traffic.items.max(initial=1)))
        self._swift = swift_nodes(members.group, self._nodes, [group.setting for group in self._groups])
        free_s = np.full((members.size, 2, self._swift.slowdown.shape[-1] - 1), -math.inf)
        self._state = SteppedState(
            routed=np.zeros(1, dtype=np.int64),
            nodes=NodeMemory(free_s, np.zeros((members.size, 2), dtype=PHASE)),
            ranking=ranking_of(members.size),
            chosen=np.zeros(members.size, dtype=np.int64),
            in_flight=np.zeros(members.size, dtype=np.int64),
            ahead_ns=np.zeros((members.size, 2), dtype=np.int64),
            work_s=np.zeros(members.size),
            latency_s=np.zeros(members.size),
            busy_until_s=np.full(members.size, -math.inf),
            probed=np.zeros(0, dtype=np.int64),
            until_s=np.full(1, -math.inf),
        )
        self._answers: Answers | None = None
        self._among: Among | None = None
        self._waiting: list[Segment] = []  # of queries that have not entered a node
        self._setting = FleetSetting.of(scenario)
        self._open = Flow.nothing()  # what may still be in a node
        self._parts: list[Flow] = []
        self._numbers: list[Floats] = []  # by part, (groups, controls)

    @property
    def busy_until_s(self) -> Floats:
        """(nodes,) when the last query of each leaves it."""
        return self._state.busy_until_s

    def _run(self, setting: FleetSetting | None, segments: Sequence[Segment], end_s: float) -> None:
        self._setting = self._setting if setting is None else setting
        rules = rules_of(self._nodes, self._setting.settings)
        waiting, self._waiting = [*self._waiting, *segments], []
        for begin, end, nodes in waiting:
            enters_s = self._traffic.arrival_s[begin:end] + self._fleet.network_s
            served = begin + int(np.searchsorted(enters_s, end_s, side="left"))
            if served > begin:
                self._serve(rules, self._traffic.part(begin, served), nodes)
            if served < end:
                self._waiting.append(Segment(served, end, nodes))

    def _serve(self, rules: Rules, traffic: Traffic, nodes: Ints) -> None:
        among = self._chosen_among(nodes)
        self._answers = answers_to(traffic.arrival_s, self._answers)
        served = nothing_served(rules, traffic.items)
        ahead = np.uint64(traffic.noise_key), traffic.arrival_s, traffic.items, traffic.query
        route_among(self._router, self._state, among, self._swift, rules, self._answers, *ahead, served)
        used = int(served.first[-1])
        part = Flow(
            traffic.query,
            traffic.arrival_s,
            traffic.items,
            served.node,
            served.offloaded,
            served.leave_s,
            served.first,
            served.start_s[:used].copy(),
            served.end_s[:used].copy(),
        )
        self._parts.append(part)
        self._numbers.append(np.array([setting.numbers for setting in self._setting.settings]))
        self._open = Flow.joined([self._open, part])

    def _chosen_among(self, nodes: Ints) -> Among:
        """What the router makes of the nodes; where they are others than before it begins anew."""
        if self._among is not None and np.array_equal(self._among.nodes, nodes):
            return self._among
        among = members_among(self._fleet.members, nodes)
        edges = np.cumsum(among.weight)
        if edges[-1] > 0.0:
            edges /= edges[-1]
            edges[np.flatnonzero(among.weight)[-1] :] = 2.0
        bounds = np.array(getattr(self._fleet.router, "bounds", ()), dtype=np.int64)
        self._among = Among(nodes, among.first, edges, np.isin(np.arange(self._fleet.members.size), nodes), bounds)
        state, choice = self._state, self._router.choice
        if choice in (ROUND_ROBIN, LEAST_REQUESTS, LEAST_WORK):
            scores = {LEAST_REQUESTS: state.in_flight.astype(np.float64), LEAST_WORK: state.work_s}
            rank_among(state.ranking, scores.get(choice, np.zeros(len(state.chosen))), state.chosen, nodes)
        probed = np.zeros(min(self._drawn, len(nodes)), dtype=np.int64)
        self._state = state._replace(probed=probed, until_s=np.full(1, -math.inf))
        return self._among

    def _flow(self, begin_s: float) -> Flow:
        still = self._open.leave_s + self._fleet.network_s >= begin_s
        if not still.all():
            self._open = self._open.chosen(still)
        return self._open

    def _everything(self) -> tuple[Flow, Floats]:
        if not self._parts:
            return Flow.nothing(), np.empty((0, len(self._setting.numbers)))
        group_of = self._fleet.members.group
        settings = [numbers[group_of[part.node]] for numbers, part in zip(self._numbers, self._parts, strict=True)]
        return Flow.joined(self._parts), np.concatenate(settings)
