"""A sub-batch in a queue whose order may change, and what is expected of its requests (rules 14 and 15)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeprec_env.scenario.setting import ORDERS

if TYPE_CHECKING:
    from deeprec_env.simulation.splitting import Cut

FCFS, SMALL_FIRST = ORDERS.index("fcfs"), ORDERS.index("small-first")


@dataclass(slots=True, eq=False)
class Waiting:
    """A sub-batch with requests not yet started.

    `items` of the whole query at the stage and `slack_s` are fixed at its entry, the `number`-th of its queue (infinite
    if it only might enter). `mean_s`: mean service by items, of its plan on this pool. `large_ns` and `small_ns`: work
    of a large and a small request where nothing slows it down, in whole nanoseconds.
    """

    part: int
    items: int
    slack_s: float
    cut: Cut
    mean_s: list[float]
    large_ns: int
    small_ns: int
    number: float = math.inf
    entry_s: float = math.inf
    started: int = 0

    def rank(self, order: int) -> float:
        """Its place in a queue of an order, one of `ORDERS` by index: the lowest is the first."""
        return self.number if order == FCFS else self.items if order == SMALL_FIRST else self.slack_s

    @property
    def next_items(self) -> int:
        """Items of its next request."""
        return self.cut.large_items if self.started < self.cut.large else self.cut.small_items

    @property
    def large_left(self) -> int:
        """Large requests not yet started."""
        return max(0, self.cut.large - self.started)

    @property
    def small_left(self) -> int:
        """Small requests not yet started."""
        return self.cut.requests - max(self.started, self.cut.large)

    @property
    def left_ns(self) -> int:
        """Work of the requests not yet started, where nothing slows them down."""
        return self.large_ns * self.large_left + self.small_ns * self.small_left
