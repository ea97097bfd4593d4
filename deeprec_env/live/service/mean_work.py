"""What a pool has to do, by the mean service times that it has shown (rule 15 with measured means)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeprec_env.latency import checked
from deeprec_env.scenario.pools import PoolSpec

_REMEMBERED = 500.0
"""Requests over which means are taken, about: older ones count less and less."""

_BELIEVED = 5.0
"""Requests that the scenario's own latency stands for, at first."""


class MeanWork:
    """Requests in service and in the queue of a pool, and their mean service, affine in their items.

    The means are those of the scenario's latency at first, and then measured: least squares over the last requests.
    """

    def __init__(self, spec: PoolSpec, most_items: int) -> None:
        self._servers = spec.servers
        self._waiting_requests = self._waiting_items = 0
        self._in_service: dict[int, tuple[float, int]] = {}  # start and items
        self._weight = self._items = self._squares = self._seconds = self._products = 0.0
        for items in {1, most_items}:
            seconds = float(checked.mean_s(spec.latency, np.array([items]))[0])
            self._learn(items, seconds, _BELIEVED, 1.0)

    def entered(self, sizes: Sequence[int]) -> None:
        """Requests of these sizes wait."""
        self._waiting_requests += len(sizes)
        self._waiting_items += sum(sizes)

    def started(self, request: int, start_s: float, items: int, requests: int) -> None:
        """One, or several as one, are in service."""
        self._waiting_requests -= requests
        self._waiting_items -= items
        self._in_service[request] = start_s, items

    def ended(self, request: int, seconds: float) -> None:
        """It has taken so long."""
        _, items = self._in_service.pop(request)
        self._learn(items, seconds, 1.0, 1.0 - 1.0 / _REMEMBERED)

    @property
    def means_s(self) -> tuple[float, float]:
        """Mean service of a request: so much, and so much for each item."""
        spread = self._weight * self._squares - self._items * self._items
        if spread > 1e-9 * self._weight * self._squares:
            per_item = (self._weight * self._products - self._items * self._seconds) / spread
            base = (self._seconds - per_item * self._items) / self._weight
            if per_item >= 0.0 and base >= 0.0:
                return base, per_item
        return (0.0, self._seconds / self._items) if self._items else (0.0, 0.0)

    def backlog_s(self) -> float:
        """How long the servers together will be at what waits."""
        base, per_item = self.means_s
        return (base * self._waiting_requests + per_item * self._waiting_items) / self._servers

    def ends_in_s(self, now_s: float, sizes: Sequence[int]) -> float:
        """In how many seconds the last of these requests would end if they entered now."""
        from deeprec_env.simulation.prediction import NANOSECONDS, free_in_s, latest_end_s

        base, per_item = self.means_s
        starts_s, expected_s = np.zeros(self._servers), np.zeros(self._servers)
        for server, (start_s, items) in enumerate(self._in_service.values()):
            starts_s[server], expected_s[server] = start_s, base + per_item * items
        ahead_s = base * self._waiting_requests + per_item * self._waiting_items
        return float(
            latest_end_s(
                free_in_s(now_s, starts_s, expected_s),
                int(ahead_s * NANOSECONDS),
                len(sizes) - 1,
                base + per_item * sizes[0],
                1,
                base + per_item * sizes[-1],
            )
        )

    def _learn(self, items: int, seconds: float, weight: float, keep: float) -> None:
        self._weight = keep * self._weight + weight
        self._items = keep * self._items + weight * items
        self._squares = keep * self._squares + weight * items * items
        self._seconds = keep * self._seconds + weight * seconds
        self._products = keep * self._products + weight * items * seconds
