"""The best of a few probed nodes, by queries in flight and latency."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import Field

from deeprec_env.fleet.routers.drawn import drawn_nodes
from deeprec_env.fleet.routers.power_of_d import MOST_DRAWN
from deeprec_env.scenario.bounds import NonNegative
from deeprec_env.scenario.router import ROUTERS, Choose, KernelRule, Known, Members, Routed, Router


@ROUTERS.register("probing")
class Probing(Router):
    """Every query to the fastest probed node that is not hot.

    `probes` different nodes are drawn, anew for the first query after every `every_ms` (0: for every query). One is hot
    if it has more queries in flight than the level `hot` of the probed ones; of those that are not, the one with the
    lowest latency of late is chosen, and one that has not answered yet before all others.

    The rule of hot and cold of Wydrowski et al., "Load is not what you should balance: Introducing Prequal" (NSDI
    2024), which draws its probes from a pool of its own. A latency here is that of answers, whatever was in flight.
    """

    probes: Annotated[int, Field(ge=1, le=MOST_DRAWN)] = 16
    every_ms: NonNegative = 0.0
    hot: Annotated[float, Field(ge=0, le=1)] = 0.84

    @property
    def most_s(self) -> float:
        return self.every_ms * 1e-3

    def start(self, members: Members) -> Choose:
        probed: list[int] = []
        until_s = -math.inf

        def choose(query: Routed, known: Known) -> int:
            nonlocal probed, until_s
            if query.arrival_s >= until_s:
                probed, until_s = drawn_nodes(query, self.probes, members), query.arrival_s + self.most_s
            in_flight = known.in_flight[probed]
            level = np.sort(in_flight)[int(self.hot * (len(probed) - 1))]
            cold = [node for node, count in zip(probed, in_flight, strict=True) if count <= level]
            return known.first(known.latency_s, cold)

        return choose

    def kernel_rule(self) -> KernelRule:
        return KernelRule("probing", draws=self.probes, every_s=self.most_s, hot=self.hot)
