"""A pool of identical servers behind one FCFS queue (rules 5, 6 and 8), on whatever clock and servers it is given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol


class StageLog:
    """Growing lists of one stage's requests (see `StageRecords`); `left` counts a query's unfinished ones.

    `first_u` holds by sub-batch the U of its first request, for those whose request is made up only when it starts:
    None if the scenario's never are. `carries` is None if none of its stages serves in batches. `items` holds each
    request's items, None where the servers have no use for them.
    """

    def __init__(self, with_u: bool = False, in_batches: bool = False, with_items: bool = False) -> None:
        self.offloaded: list[bool] = []
        self.first: list[int] = [0]
        self.left: list[int] = []
        self.base_s: list[float] = []
        self.start_s: list[float] = []
        self.end_s: list[float] = []
        self.first_u: list[float] | None = [] if with_u else None
        self.carries: list[bool] | None = [] if in_batches else None
        self.items: list[int] | None = [] if with_items else None


class Clock(Protocol):
    """The present, and the end of the present instant."""

    now: float

    def settled(self) -> bool:
        """Whether nothing else is left to happen at the present instant."""

    def when_settled(self, pool: int, callback: Callable[[int, int], None]) -> None:
        """Call back with (0, pool) after everything else of this instant, pools in the order of their numbers."""


Serve = Callable[[int, int, int], None]
"""Servers of one pool, simulated or worker processes: begin (query, request) on a free server, now.

The last argument is how many servers are busy, this one included. They write start and, as soon as it is known, end of
the request to the log, and call the pool's `complete` when it has ended, not before they return. Queues and rules are
no matter of theirs.
"""


class Pool:
    """A queue and the rules by which requests leave it: in order of entry, work-conserving, without preemption."""

    def __init__(self, number: int, clock: Clock, servers: int, log: StageLog, leave: Callable[[int], None]) -> None:
        self.number = number
        self.servers = servers
        self.busy = 0
        self.waiting: deque[int] = deque()  # queries with requests not yet started, the first of them perhaps in part
        self._next: int | None = None  # the first waiting query's next request, once it has started in part
        self._clock, self._settled, self._leave = clock, clock.settled, leave
        self._first, self._left = log.first, log.left  # lists that grow
        self._start_due = False
        self._serve: Serve

    def serve_by(self, serve: Serve) -> None:
        """Let these servers take what leaves the queue; they are as many as the pool was told."""
        self._serve = serve

    def enter(self, query: int) -> None:
        """Queue all requests of a query at the present instant."""
        self.waiting.append(query)
        if self.busy < self.servers:
            if self._settled():
                self._start()
            else:
                self._defer()

    def complete(self, query: int, request: int) -> None:
        """A request of a query has ended."""
        self.busy -= 1
        left = self._left[query] = self._left[query] - 1
        if not left:
            self._leave(query)
        if self.waiting:
            if self._settled():
                self._start()
            else:
                self._defer()

    def waiting_requests(self) -> int:
        """Requests in the queue, not started."""
        first = self._first
        total = sum(first[query + 1] - first[query] for query in self.waiting)
        return total - (0 if self._next is None else self._next - first[self.waiting[0]])

    def _defer(self) -> None:
        """Starts come after all other events of an instant; with none left they are now."""
        if not self._start_due:
            self._start_due = True
            self._clock.when_settled(self.number, self._start_due_now)

    def _start_due_now(self, query: int, pool: int) -> None:
        self._start_due = False
        self._start()

    def _start(self) -> None:
        waiting, first, serve, servers, busy = self.waiting, self._first, self._serve, self.servers, self.busy
        while busy < servers and waiting:
            query = waiting[0]
            request, end = first[query] if self._next is None else self._next, first[query + 1]
            while request < end and busy < servers:
                busy += 1
                serve(query, request, busy)
                request += 1
            if request == end:
                waiting.popleft()
                self._next = None
            else:
                self._next = request
        self.busy = busy
