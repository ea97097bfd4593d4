"""Routers: what names the node that a query goes to; `fleet.routers` holds their kinds (rule 18)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BeforeValidator, SerializeAsAny

from deeprec_env.scenario.component import Component, Registry
from deeprec_env.scenario.parts import Floats, Ints


@dataclass(frozen=True)
class Members:
    """The nodes of a fleet, numbered group by group."""

    names: tuple[str, ...]
    """Of the groups."""
    counts: tuple[int, ...]
    """Nodes of each."""
    weights: tuple[float, ...]
    """Of a node of each."""

    @property
    def size(self) -> int:
        """All nodes."""
        return sum(self.counts)

    @cached_property
    def group(self) -> Ints:
        """(nodes,) the index of each one's group."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def first(self) -> Ints:
        """(groups + 1,) the first node of each, and the end."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def weight(self) -> Floats:
        """(nodes,) of each."""
        return np.repeat(np.array(self.weights, dtype=np.float64), self.counts)


@dataclass(frozen=True)
class Routed:
    """A query that is to be routed: its number in the whole traffic, when it arrives, its items.

    `draw(j)` is its U number j, the same whatever else is drawn or routed.
    """

    query: int
    arrival_s: float
    items: int
    draw: Callable[[int], float]

    def below(self, count: int, j: int) -> int:
        """Draw number j as a whole number from 0 to `count` - 1."""
        return min(int(self.draw(j) * count), count - 1)


@dataclass(frozen=True)
class Known:
    """What a router knows when a query arrives; arrays are (nodes,), and not to be written."""

    members: Members
    in_flight: Ints
    """Queries sent and not answered."""
    work_s: Floats
    """Mean work of these, in the time of all servers of the pools they go to."""
    latency_s: Floats
    """Smoothed latency of those answered; 0 before the first answer."""
    chosen: Ints
    """When each node was last chosen: for the n-th query, counted from 1; 0: never."""

    def first(self, score: Floats | Ints, among: Sequence[int] | Ints | None = None) -> int:
        """The node of the lowest score; ties: the one chosen longest ago, then the lowest number."""
        nodes = np.arange(self.members.size) if among is None else np.asarray(among)
        return int(nodes[np.lexsort((nodes, self.chosen[nodes], np.asarray(score)[nodes]))[0]])


Choose = Callable[[Routed, Known], int]
"""The node for a query."""


@dataclass(frozen=True)
class KernelRule:
    """A router that follows state, as compiled code knows it: the place of its choice in the kernel, and numbers."""

    choice: str
    draws: int = 0
    """Nodes drawn at random."""
    every_s: float = 0.0
    """Seconds that drawn nodes stay drawn."""
    hot: float = 1.0
    """The level among the drawn nodes' queries in flight above which a node is hot."""


class Router(Component, ABC):
    """Which node each query goes to.

    A router whose choices need nothing but the queries themselves is `blind`, and has `assign` too: its nodes run by
    themselves. One that follows state has a `kernel_rule`, or else the asyncio engine alone can run it.
    """

    blind: ClassVar[bool] = False
    every_group: ClassVar[bool] = False
    """Whether every group needs a node that serves, where nodes come and go."""

    @property
    def most_s(self) -> float:
        """The longest time that the router's own knowledge stays in use; it may not outlast a day."""
        return 0.0

    def check(self, members: Members) -> None:
        """Raise `InputError` for a fleet that lacks what the router needs."""

    @abstractmethod
    def start(self, members: Members) -> Choose:
        """What names each query's node in one run; it may remember what it saw."""

    def assign(self, query: Ints, items: Ints, before: Ints, draw: Callable[[int], Floats], members: Members) -> Ints:
        """The nodes of consecutive queries, for `blind` routers: what the function of `start` says to each in turn.

        `query` and `items` (queries,); `before` (groups + 1,): how many queries each group got before these, and all;
        `draw(j)`: the queries' U number j, (queries,).
        """
        raise NotImplementedError(f"{type(self).__name__}.assign")

    def shares(self, items: Ints, members: Members) -> Floats | None:
        """(groups, sizes) the share of the queries of each size that go to each group; None: it depends on state."""
        return None

    def kernel_rule(self) -> KernelRule | None:
        """How compiled code chooses; None: it can't."""
        return None


ROUTERS: Registry[Router] = Registry(Router, "router", "deeprec_env.routers")  # type: ignore[type-abstract]

AnyRouter = Annotated[SerializeAsAny[Router], BeforeValidator(ROUTERS.build)]
