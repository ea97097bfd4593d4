"""An accelerator that takes requests of several queries together (rule 17)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Protocol

from deeprec_env.scenario.pools import PoolSpec
from deeprec_env.simulation.ordered_pool import OrderedPool
from deeprec_env.simulation.pool import Clock, StageLog
from deeprec_env.simulation.waiting import Waiting


class TimedClock(Clock, Protocol):
    """A clock that can call back later."""

    def when_settled_at(self, time_s: float, pool: int, callback: Callable[[int, int], None]) -> None:
        """`when_settled` of an instant to come."""


ServeBatch = Callable[[list[tuple[int, int]], int], None]
"""Servers of one pool that take batches: begin one, given by its (query, request) pairs, on a free server, now.

Its service without contention is that of its first request in the log. Otherwise as `Serve`.
"""


class BatchingPool(OrderedPool):
    """Servers that each take the longest prefix of the queue that fits, once it is full or someone waited too long.

    Every sub-batch here is one request. `ask_s(part, items)` is the service without contention of a batch that begins
    with that one.
    """

    def __init__(
        self,
        number: int,
        clock: TimedClock,
        spec: PoolSpec,
        overhead_s: float,
        log: StageLog,
        leave: Callable[[int], None],
        ask_s: Callable[[int, int], float],
    ) -> None:
        super().__init__(number, clock, spec, overhead_s, log, leave)
        assert spec.batching is not None
        assert log.carries is not None
        self.max_items, self._max_wait_s = spec.batching.max_items, spec.batching.max_wait_ms * 1e-3
        self._timed, self._ask_s, self._carries = clock, ask_s, log.carries

        self._serve_batch: ServeBatch

    def serve_batches_by(self, serve: ServeBatch) -> None:
        """Let these servers take what leaves the queue; they are as many as the pool was told."""
        self._serve_batch = serve

    def enter(self, entry: Waiting) -> None:
        """Queue a request at the present instant."""
        super().enter(entry)
        if self._max_wait_s > 0.0:
            self._timed.when_settled_at(entry.entry_s + self._max_wait_s, self.number, self._start_due_now)

    def complete(self, part: int, request: int) -> None:
        """A request has ended; the one that carries its batch frees the server."""
        if self._carries[request]:
            self._release(request)
        self._log.left[part] -= 1
        self._leave(part)

    def _start(self) -> None:
        while self.waiting and self.busy < self.servers:
            size, items = self._prefix()
            if size == len(self.waiting) and items < self.max_items and not self._someone_waited():
                return
            batch = [entry for _, _, entry in self.waiting[:size]]
            del self.waiting[:size]
            self._start_batch(batch, items)

    def _prefix(self) -> tuple[int, int]:
        """How many of the first requests fit together, at least one, and their items."""
        size, items = 1, self.waiting[0][2].items
        for _, _, entry in islice(self.waiting, 1, None):
            if items + entry.items > self.max_items:
                break
            size, items = size + 1, items + entry.items
        return size, items

    def _someone_waited(self) -> bool:
        now = self._clock.now
        return any(entry.entry_s + self._max_wait_s <= now for _, _, entry in self.waiting)

    def _start_batch(self, batch: list[Waiting], items: int) -> None:
        log, members = self._log, [(entry.part, self._log.first[entry.part]) for entry in batch]
        part, carrier = members[0]
        for entry, (_, request) in zip(batch, members, strict=True):
            log.base_s[request], self._carries[request] = 0.0, request == carrier
            self.waiting_ns -= entry.left_ns
        log.base_s[carrier] = self._ask_s(part, items)
        self._occupy(carrier, batch[0].mean_s[items])
        self._serve_batch(members, self.busy)
