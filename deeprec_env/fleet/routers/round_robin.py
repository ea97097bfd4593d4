"""Nodes in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import ROUTERS, Choose, Members, Router


@ROUTERS.register("round-robin")
class RoundRobin(Router):
    """Every query to the node chosen longest ago, at first the one of the lowest number."""

    blind: ClassVar[bool] = True

    def start(self, members: Members) -> Choose:
        return lambda query, known: known.first(np.zeros(members.size))

    def assign(self, query: Ints, items: Ints, before: Ints, draw: Callable[[int], Floats], members: Members) -> Ints:
        return np.asarray((np.arange(len(query), dtype=np.int64) + before[-1]) % members.size)

    def shares(self, items: Ints, members: Members) -> Floats:
        return np.outer(np.array(members.counts) / members.size, np.ones(len(items)))
