"""Who is let in: a bounded number in the house, and nobody whose deadline can't be met."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from deeprec_env.live.service.node import ServiceNode

REASONS = ("full", "deadline", "shed", "draining", "invalid")
"""Why a request is refused."""


class Refused(Exception):
    """A query is not let in: the HTTP status, why in a word and in words, and after how many seconds to come again."""

    def __init__(self, status: int, reason: str, words: str, retry_after_s: int | None = None) -> None:
        super().__init__(words)
        self.status, self.reason, self.words, self.retry_after_s = status, reason, words, retry_after_s


@dataclass
class Admission:
    """Lets queries in; `most_in_flight` at a time, waiting or with workers. `refused` counts the others by reason."""

    node: ServiceNode
    most_in_flight: int
    draining: bool = False
    refused: Counter[str] = field(default_factory=Counter)

    def check_room(self) -> None:
        """Raise `Refused` where nobody is let in."""
        if self.draining:
            raise Refused(503, "draining", "the service is ending", 1)
        if self.node.in_flight >= self.most_in_flight:
            words = f"{self.most_in_flight} queries are waiting or being served, and no more may"
            raise Refused(503, "full", words, self.retry_after_s())

    def check_deadline(self, items: int, left_s: float) -> None:
        """Raise `Refused` where a query would take longer than it has left, by the mean work that is there."""
        predicted_s = self.node.predicted_s(items)
        if predicted_s > left_s:
            words = f"it would take {predicted_s * 1e3:.1f} ms, and has {max(0.0, left_s) * 1e3:.1f}"
            raise Refused(504, "deadline", words)

    def retry_after_s(self) -> int:
        """Whole seconds until half of the queue will be gone, at least 1."""
        return max(1, math.ceil(0.5 * self.node.backlog_s()))
