"""A pool whose queue is in an order that may change (rule 14), and what may be expected of its servers (rule 15)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

import numpy as np

from deeprec_env.scenario.pools import PoolSpec
from deeprec_env.simulation.pool import Clock, Serve, StageLog
from deeprec_env.simulation.waiting import FCFS, Waiting


class OrderedPool:
    """A queue in order of rank, then of query and part; work-conserving, without preemption.

    Starts always come last in their instant: who enters before that may have to go first, and is predicted on the state
    before them. A sub-batch started in part keeps its place with what is left of it. `begun_s` and `expected_s` say of
    each server when its request began and the mean then expected of it, 0 and 0 if it is idle.
    """

    def __init__(
        self,
        number: int,
        clock: Clock,
        spec: PoolSpec,
        overhead_s: float,
        log: StageLog,
        leave: Callable[[int], None],
    ) -> None:
        self.number, self.servers, self.overhead_s = number, spec.servers, overhead_s
        self.slowdown = [spec.slowdown(busy) for busy in range(spec.servers + 1)]
        self.contended = any(factor != 1.0 for factor in self.slowdown)
        self.busy = 0
        self.order = FCFS
        self.waiting: list[tuple[float, int, Waiting]] = []  # ascending by rank in force and part
        self.waiting_ns = 0  # work of all that wait, where nothing is slowed down
        self.begun_s, self.expected_s = np.zeros(spec.servers), np.zeros(spec.servers)
        self._idle = list(range(spec.servers))
        self._server: dict[int, int] = {}  # of each request in service
        self._entered = 0
        self._clock, self._log, self._leave = clock, log, leave
        self._start_due = False
        self._serve: Serve

    def serve_by(self, serve: Serve) -> None:
        """Let these servers take what leaves the queue; they are as many as the pool was told."""
        self._serve = serve

    def enter(self, entry: Waiting) -> None:
        """Queue a sub-batch at the present instant."""
        entry.number, entry.entry_s = self._entered, self._clock.now
        self._entered += 1
        insort(self.waiting, (entry.rank(self.order), entry.part, entry))
        self.waiting_ns += entry.left_ns
        self._defer()

    def reorder(self, order: int) -> None:
        """Sort the queue by another of `ORDERS`, given by its index."""
        if order != self.order:
            self.order = order
            self.waiting = sorted((entry.rank(order), part, entry) for _, part, entry in self.waiting)

    def complete(self, part: int, request: int) -> None:
        """A request of a sub-batch has ended."""
        self._release(request)
        left = self._log.left[part] = self._log.left[part] - 1
        if not left:
            self._leave(part)

    def ahead_of(self, entry: Waiting) -> Sequence[tuple[float, int, Waiting]]:
        """What waits and would go before one that entered now."""
        return self.waiting[: bisect_left(self.waiting, (entry.rank(self.order), entry.part, entry))]

    def waiting_requests(self) -> int:
        """Requests in the queue, not started."""
        return sum(entry.cut.requests - entry.started for _, _, entry in self.waiting)

    def _release(self, request: int) -> None:
        """A server has come free."""
        server = self._server.pop(request)
        self.begun_s[server] = self.expected_s[server] = 0.0
        self._idle.append(server)
        self.busy -= 1
        self._defer()

    def _occupy(self, request: int, mean_s: float) -> None:
        """A server takes a request, or a batch that it carries."""
        self.busy += 1
        server = self._server[request] = self._idle.pop()
        self.begun_s[server] = self._clock.now
        self.expected_s[server] = mean_s * self.slowdown[self.busy] + self.overhead_s

    def _defer(self) -> None:
        """Let starts come after all else of this instant, where there may be any."""
        if not self._start_due and self.waiting and self.busy < self.servers:
            self._start_due = True
            self._clock.when_settled(self.number, self._start_due_now)

    def _start_due_now(self, _: int, pool: int) -> None:
        self._start_due = False
        self._start()

    def _start(self) -> None:
        while self.waiting and self.busy < self.servers:
            entry = self.waiting[0][2]
            request = self._log.first[entry.part] + entry.started
            self._occupy(request, entry.mean_s[entry.next_items])
            self._serve(entry.part, request, self.busy)
            self.waiting_ns -= entry.large_ns if entry.large_left else entry.small_ns
            entry.started += 1
            if entry.started == entry.cut.requests:
                del self.waiting[0]
