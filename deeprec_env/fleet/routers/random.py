"""A node at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import ROUTERS, Choose, Members, Router


@ROUTERS.register("random")
class Random(Router):
    """Every query to any node, all equally likely."""

    blind: ClassVar[bool] = True

    def start(self, members: Members) -> Choose:
        return lambda query, known: query.below(members.size, 0)

    def assign(self, query: Ints, items: Ints, before: Ints, draw: Callable[[int], Floats], members: Members) -> Ints:
        return np.minimum((draw(0) * members.size).astype(np.int64), members.size - 1)

    def shares(self, items: Ints, members: Members) -> Floats:
        return np.outer(np.array(members.counts) / members.size, np.ones(len(items)))
