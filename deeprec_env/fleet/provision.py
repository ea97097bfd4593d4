"""Which nodes of a fleet are on (rule 18): those that go drain, those that come take `start_s` to be up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import Members


class Provision:
    """The nodes that are on, from window to window; at first all of them are, and up.

    `on` (nodes,): those that serve, and those that are starting. `up_s` (nodes,): when each that is on comes up. One
    that is not on draws power until its last query has left: it drains.
    """

    def __init__(self, members: Members, start_s: Sequence[float]) -> None:
        """`start_s`: by group, how long a node takes to come up."""
        self._members = members
        self._start_s = np.repeat(np.array(start_s, dtype=np.float64), members.counts)
        self.on: NDArray[np.bool_] = np.ones(members.size, dtype=np.bool_)
        self.up_s: Floats = np.full(members.size, -math.inf)

    def serving(self, now_s: float) -> NDArray[np.bool_]:
        """(nodes,) which may be sent queries that arrive at a time."""
        return np.asarray(self.on & (self.up_s <= now_s))

    def turn(self, now_s: float, counts: Sequence[int], busy_until_s: Floats) -> None:
        """Let `counts` nodes of each group be on from now on.

        Down: those that are starting go first, then those that serve, the highest number first. Up: those that still
        drain come first and serve at once, then the others, the lowest number first; they take `start_s`. A fleet is
        never without a node that serves: if none were left, the first that did goes on until a later turn.
        `busy_until_s` (nodes,): when the last query of each leaves.
        """
        before = self.serving(now_s)
        for group, wanted in enumerate(counts):
            nodes = np.arange(self._members.first[group], self._members.first[group + 1])
            on = nodes[self.on[nodes]]
            if len(on) > wanted:
                last = on[np.lexsort((-on, before[on]))]
                self.on[last[: len(on) - wanted]] = False
            else:
                off = nodes[~self.on[nodes]]
                drains = busy_until_s[off] >= now_s
                first = off[np.lexsort((off, ~drains))][: wanted - len(on)]
                self.up_s[first] = np.where(busy_until_s[first] >= now_s, -math.inf, now_s + self._start_s[first])
                self.on[first] = True
        if not self.serving(now_s).any():
            kept = int(np.flatnonzero(before)[0])
            self.on[kept], self.up_s[kept] = True, -math.inf

    def segments(self, begin_s: float, end_s: float) -> list[tuple[float, float, Ints]]:
        """[begin_s, end_s) cut wherever a node comes up: from, to, and the nodes that serve in between."""
        coming = self.up_s[self.on & (self.up_s > begin_s) & (self.up_s < end_s)]
        times = [begin_s, *np.unique(coming).tolist(), end_s]
        return [(one, other, np.flatnonzero(self.serving(one))) for one, other in pairwise(times)]
