"""A pool of identical servers behind one FCFS queue (rules 5, 6 and 8), as callbacks on the virtual-time loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappush

from deeprec_env.scenario import pools
from deeprec_env.simulation.loop import COMPLETION, START, Event, VirtualTimeLoop


class StageLog:
    """Growing lists of one stage's requests (see `StageRecords`); `left` counts a query's unfinished ones."""

    def __init__(self) -> None:
        self.offloaded: list[bool] = []
        self.first: list[int] = [0]
        self.left: list[int] = []
        self.base_s: list[float] = []
        self.start_s: list[float] = []
        self.end_s: list[float] = []


class Pool:
    """Servers that take the queued requests in order. Work-conserving, without preemption."""

    def __init__(
        self,
        number: int,
        loop: VirtualTimeLoop,
        spec: pools.Pool,
        overhead_s: float,
        log: StageLog,
        leave: Callable[[int], None],
    ) -> None:
        self.number = number
        self.servers = spec.servers
        self.busy = 0
        self.waiting: deque[int] = deque()  # queries with requests not yet started, the first of them perhaps in part
        self._next: int | None = None  # the first waiting query's next request, once it has started in part
        self._slowdown = [spec.slowdown(busy) for busy in range(spec.servers + 1)]
        self._overhead_s = overhead_s
        self._loop, self._log, self._leave = loop, log, leave
        self._start_due = False

    def enter(self, query: int) -> None:
        """Queue all requests of a query at the present instant."""
        self.waiting.append(query)
        if self.busy < self.servers:
            self._start_when_settled()

    def waiting_requests(self) -> int:
        """Requests in the queue, not started."""
        first = self._log.first
        total = sum(first[query + 1] - first[query] for query in self.waiting)
        return total - (0 if self._next is None else self._next - first[self.waiting[0]])

    def _start_when_settled(self) -> None:
        """Starts come behind all other events of an instant; with none left they are now."""
        loop = self._loop
        if loop.events and loop.events[0][0] == loop.now:
            if not self._start_due:
                self._start_due = True
                heappush(loop.events, (loop.now, START, 0, self.number, self._start_due_now))
        else:
            self._start()

    def _start_due_now(self, event: Event) -> None:
        self._start_due = False
        self._start()

    def _start(self) -> None:
        log, waiting, servers, slowdown = self._log, self.waiting, self.servers, self._slowdown
        loop, complete, overhead_s = self._loop, self._complete, self._overhead_s
        now, events, busy = loop.now, loop.events, self.busy
        while busy < servers and waiting:
            query = waiting[0]
            request = log.first[query] if self._next is None else self._next
            end = log.first[query + 1]
            while request < end and busy < servers:
                busy += 1
                ends_s = now + (log.base_s[request] * slowdown[busy] + overhead_s)
                log.start_s[request] = now
                log.end_s[request] = ends_s
                heappush(events, (ends_s, COMPLETION, query, request, complete))
                request += 1
            if request == end:
                waiting.popleft()
                self._next = None
            else:
                self._next = request
        self.busy = busy

    def _complete(self, event: Event) -> None:
        self.busy -= 1
        query, left = event[2], self._log.left
        left[query] -= 1
        if not left[query]:
            self._leave(query)
        if self.waiting:
            self._start_when_settled()
