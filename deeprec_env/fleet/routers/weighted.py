"""A node at random, by the weights of the groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import ROUTERS, Choose, Members, Router


@ROUTERS.register("weighted")
class Weighted(Router):
    """Every query to any node, each as likely as the `weight` of its group says."""

    blind: ClassVar[bool] = True
    every_group: ClassVar[bool] = True

    def check(self, members: Members) -> None:
        if sum(members.weights) <= 0.0:
            raise InputError("groups.weight", list(members.weights), "must be above 0 in some group: router weighted")

    def start(self, members: Members) -> Choose:
        edges = _edges(members)
        return lambda query, known: int(_place(edges, query.draw(0)))

    def assign(self, query: Ints, items: Ints, before: Ints, draw: Callable[[int], Floats], members: Members) -> Ints:
        return _place(_edges(members), draw(0))

    def shares(self, items: Ints, members: Members) -> Floats:
        of_group = np.array(members.counts) * np.array(members.weights)
        return np.outer(of_group / of_group.sum(), np.ones(len(items)))


def _edges(members: Members) -> Floats:
    """Where the share of each node ends, of 1; from the last node with a weight on it is above."""
    edges = np.cumsum(members.weight)
    edges /= edges[-1]
    edges[np.flatnonzero(members.weight)[-1] :] = 2.0
    return edges


def _place(edges: Floats, u: float | Floats) -> Ints:
    return np.asarray(np.searchsorted(edges, u, side="right"), dtype=np.int64)
