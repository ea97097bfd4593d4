"""The compiled engine of a fleet whose nodes come and go."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.fleet.answers import Answers, no_answers
from deeprec_env.fleet.flow import Flow
from deeprec_env.fleet.ranking import ranking_of
from deeprec_env.fleet.setting import FleetSetting
from deeprec_env.fleet.stepped import Segment, SteppedFleet, members_among
from deeprec_env.fleet.stepped_kernel import (
    CHOICES,
    DUE,
    LEAST_REQUESTS,
    LEAST_WORK,
    ROUND_ROBIN,
    Among,
    Rules,
    Served,
    SteppedArrays,
    SteppedState,
    rank_among,
    requests_at_most,
    route_among,
)
from deeprec_env.fleet.work import work_scale, work_table
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import NodeArrays, all_rows, node_arrays
from deeprec_env.simulation.splitting import rule_at
from deeprec_env.simulation.stacked_arrays import put, room_for
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
        self._arrays = _arrays(scenario, self._nodes, int(traffic.items.max(initial=1)))
        members, rule = self._fleet.members, self._fleet.router.kernel_rule()
        self._drawn = 0 if rule is None else rule.draws
        self._state = SteppedState(
            counts=np.zeros(2, dtype=np.int64),
            free_s=np.full((members.size, 2, self._arrays.slowdown.shape[-1] - 1), -math.inf),
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
        self._answers: Answers = no_answers(0)
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
        rules = self._rules(self._setting)
        waiting, self._waiting = [*self._waiting, *segments], []
        for begin, end, nodes in waiting:
            enters_s = self._traffic.arrival_s[begin:end] + self._fleet.network_s
            served = begin + int(np.searchsorted(enters_s, end_s, side="left"))
            if served > begin:
                self._serve(rules, self._traffic.part(begin, served), nodes)
            if served < end:
                self._waiting.append(Segment(served, end, nodes))

    def _serve(self, rules: Rules, traffic: Traffic, nodes: Ints) -> None:
        among, count = self._chosen_among(nodes), len(traffic.items)
        due = int(self._state.counts[DUE])
        if len(self._answers.place) < due + count:
            self._answers = no_answers(2 * (due + count), self._answers, due)
        requests = requests_at_most(rules, traffic.items)
        served = Served(
            node=np.empty(count, dtype=np.int64),
            offloaded=np.empty(count, dtype=np.bool_),
            first=np.zeros(count + 1, dtype=np.int64),
            leave_s=np.empty(count),
            start_s=np.empty(requests),
            end_s=np.empty(requests),
        )
        ahead = traffic.arrival_s, traffic.items, traffic.query
        route_among(
            self._arrays, rules, self._state, self._answers, among, np.uint64(traffic.noise_key), *ahead, served
        )
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
        self._among = Among(nodes, among.first, edges)
        state, choice = self._state, self._arrays.choice
        if choice in (ROUND_ROBIN, LEAST_REQUESTS, LEAST_WORK):
            scores = {LEAST_REQUESTS: state.in_flight.astype(np.float64), LEAST_WORK: state.work_s}
            rank_among(state.ranking, scores.get(choice, np.zeros(len(state.chosen))), state.chosen, nodes)
        probed = np.zeros(min(self._drawn, len(nodes)), dtype=np.int64)
        self._state = state._replace(probed=probed, until_s=np.full(1, -math.inf))
        return self._among

    def _rules(self, setting: FleetSetting) -> Rules:
        rules = [rule_at(node, 0, each.numbers) for node, each in zip(self._nodes, setting.settings, strict=True)]
        return Rules(
            most_items=np.array([rule.most_items for rule in rules], dtype=np.int64),
            largest=np.array([rule.largest for rule in rules], dtype=np.int64),
            even=np.array([rule.even for rule in rules]),
            offload_from=np.array([rule.offload_from for rule in rules], dtype=np.int64),
        )

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


def _arrays(scenario: Scenario, nodes: Sequence[NodeArrays], largest: int) -> SteppedArrays:
    """The fleet as the kernel takes it, for queries of at most `largest` items."""
    assert scenario.fleet is not None
    fleet, router = scenario.fleet, scenario.fleet.router
    if router.kind not in CHOICES:
        raise InputError("fleet.router", router.kind, "is asked in Python: use engine asyncio")
    stack = room_for(nodes)
    for position, node in enumerate(nodes):
        put(stack, position, node)
    padded, rule = stack.padded, router.kernel_rule()
    tables = [
        work_table(group, node, largest) if router.kind == "least-work" else np.zeros((1, 2), dtype=np.int64)
        for node, group in zip(nodes, scenario.group_scenarios, strict=True)
    ]
    return SteppedArrays(
        group=fleet.members.group,
        servers=padded.servers,
        latency=padded.latency[:, 0].copy(),
        slowdown=padded.slowdown,
        contended=padded.contended,
        overhead_s=padded.overhead_s[:, 0].copy(),
        transfer_s=padded.transfer_s[:, 0].copy(),
        work_ns=np.stack(tables),
        work_scale=np.stack([work_scale(node) for node in nodes]),
        network_s=fleet.network_s,
        age_s=fleet.probe_age_s,
        choice=CHOICES.index(router.kind),
        every_s=0.0 if rule is None else rule.every_s,
        hot=1.0 if rule is None else rule.hot,
        bounds=np.array(getattr(router, "bounds", ()), dtype=np.int64),
    )
