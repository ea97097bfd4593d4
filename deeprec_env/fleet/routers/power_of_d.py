"""The best of a few nodes drawn at random."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deeprec_env.fleet.routers.drawn import drawn_nodes
from deeprec_env.scenario.router import ROUTERS, Choose, KernelRule, Members, Router

MOST_DRAWN = 64
"""Bound of the nodes drawn: they are compared with each other."""


@ROUTERS.register("power-of-d")
class PowerOfD(Router):
    """Every query to the one of `d` different nodes, drawn at random, with the fewest queries in flight.

    Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).
    """

    d: Annotated[int, Field(ge=1, le=MOST_DRAWN)] = 2

    def start(self, members: Members) -> Choose:
        return lambda query, known: known.first(known.in_flight, drawn_nodes(query, self.d, members))

    def kernel_rule(self) -> KernelRule:
        return KernelRule("power-of-d", draws=self.d)
