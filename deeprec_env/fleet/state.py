"""What a router knows of its nodes, kept as queries are sent and answered (rule 18)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deeprec_env.fleet.work import work_scale, work_table
from deeprec_env.scenario.router import Known, Members
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import node_arrays

SMOOTHING = 0.25
"""The share of the newest latency in the smoothed one."""


class RouterState:
    """What the reference engine tells routers; queries have at most `largest` items."""

    def __init__(self, scenarios: Sequence[Scenario], members: Members, largest: int) -> None:
        arrays = [node_arrays(scenario, largest) for scenario in scenarios]
        self._work_ns = [work_table(scenario, node, largest) for scenario, node in zip(scenarios, arrays, strict=True)]
        self._scale = [work_scale(node) for node in arrays]
        self._ahead_ns = [np.zeros(len(self._scale[group]), dtype=np.int64) for group in members.group]
        self._routed = 0
        count = members.size
        self.known = Known(
            members,
            in_flight=np.zeros(count, dtype=np.int64),
            work_s=np.zeros(count),
            latency_s=np.zeros(count),
            chosen=np.zeros(count, dtype=np.int64),
        )

    def sent(self, node: int, items: int) -> None:
        """A query of that many items was sent to a node."""
        self._routed += 1
        self.known.chosen[node] = self._routed
        self._count(node, items, 1)

    def answered(self, node: int, items: int, latency_s: float) -> None:
        """The router gets to know of an answer; the latency of a query that was shed is NaN, and says nothing."""
        self._count(node, items, -1)
        if math.isnan(latency_s):
            return
        before_s = self.known.latency_s[node]
        smoothed_s = latency_s if before_s == 0.0 else before_s + SMOOTHING * (latency_s - before_s)
        self.known.latency_s[node] = smoothed_s

    def _count(self, node: int, items: int, sign: int) -> None:
        group = self.known.members.group[node]
        self._ahead_ns[node] += sign * self._work_ns[group][items]
        work_s = 0.0
        for ahead_ns, scale in zip(self._ahead_ns[node].tolist(), self._scale[group].tolist(), strict=True):
            work_s += ahead_ns * scale
        self.known.work_s[node] = work_s
        self.known.in_flight[node] += sign
