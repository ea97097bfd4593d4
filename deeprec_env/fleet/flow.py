"""Queries of a fleet that have entered their nodes, in the order of their arrival at the router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats, Ints


class Flow(NamedTuple):
    """Arrays are (queries,), but for `first` (queries + 1,), where the requests of each begin, and (requests,) times.

    `leave_s` is when a query leaves its node, infinite where nobody knows yet, as are the times of requests.
    """

    query: Ints
    arrival_s: Floats
    items: Ints
    node: Ints
    offloaded: NDArray[np.bool_]
    leave_s: Floats
    first: Ints
    start_s: Floats
    end_s: Floats

    @classmethod
    def nothing(cls) -> Flow:
        """No queries."""
        none, nobody = np.empty(0), np.empty(0, dtype=np.int64)
        return cls(
            nobody, none, nobody, nobody, np.empty(0, dtype=np.bool_), none, np.zeros(1, dtype=np.int64), none, none
        )

    @staticmethod
    def joined(parts: Sequence[Flow]) -> Flow:
        """Parts of one flow, one after the other."""
        begins = np.cumsum([0, *(len(part.start_s) for part in parts[:-1])])
        firsts = [part.first[1:] + begin for part, begin in zip(parts, begins, strict=True)]
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in Flow._fields if name != "first"
        }
        return Flow(first=np.concatenate([[0], *firsts]), **columns)

    def chosen(self, kept: NDArray[np.bool_] | Ints) -> Flow:
        """Some of the queries (a mask, or their places), with their requests."""
        places = np.flatnonzero(kept) if kept.dtype == np.bool_ else kept
        begins, counts = self.first[places], self.first[places + 1] - self.first[places]
        first = np.concatenate([[0], np.cumsum(counts)])
        requests = np.repeat(begins - first[:-1], counts) + np.arange(first[-1])
        return Flow(
            self.query[places],
            self.arrival_s[places],
            self.items[places],
            self.node[places],
            self.offloaded[places],
            self.leave_s[places],
            first,
            self.start_s[requests],
            self.end_s[requests],
        )
