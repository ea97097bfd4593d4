"""Small and large queries to different groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
from pydantic import model_validator

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import Count
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import ROUTERS, Choose, Known, Members, Routed, Router


@ROUTERS.register("by-size")
class BySize(Router):
    """Queries of fewer than `bounds[0]` items to the first group, of at least `bounds[-1]` to the last.

    Within a group to its nodes in turn.
    """

    blind: ClassVar[bool] = True
    every_group: ClassVar[bool] = True

    bounds: tuple[Count, ...]

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if any(later <= earlier for earlier, later in zip(self.bounds, self.bounds[1:], strict=False)):
            raise InputError("bounds", list(self.bounds), "must ascend")
        return self

    def check(self, members: Members) -> None:
        if len(self.bounds) != len(members.counts) - 1:
            allowed = f"must be one fewer than the {len(members.counts)} groups"
            raise InputError("router.bounds", list(self.bounds), allowed)

    def _group(self, items: Ints | int) -> Ints:
        return np.asarray(np.searchsorted(np.array(self.bounds), items, side="right"), dtype=np.int64)

    def start(self, members: Members) -> Choose:
        def choose(query: Routed, known: Known) -> int:
            group = int(self._group(query.items))
            among = np.arange(members.first[group], members.first[group + 1])
            return known.first(np.zeros(members.size), among)

        return choose

    def assign(self, query: Ints, items: Ints, before: Ints, draw: Callable[[int], Floats], members: Members) -> Ints:
        of_group, nodes = self._group(items), np.empty(len(items), dtype=np.int64)
        for group, count in enumerate(members.counts):
            chosen = np.flatnonzero(of_group == group)
            nodes[chosen] = members.first[group] + (before[group] + np.arange(len(chosen))) % count
        return nodes

    def shares(self, items: Ints, members: Members) -> Floats:
        return np.equal(self._group(items), np.arange(len(members.counts))[:, None]).astype(np.float64)
