"""An asyncio event loop on the real clock that keeps its appointments to microseconds."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from typing import Any

from deeprec_env.simulation.loop import EventHeap

AWAKE_S = 1.2e-3
"""So long before an event the loop sleeps no more but polls: epoll rounds what it waits up to a millisecond."""

AWAKE_ALONE_S = 5e-3
"""The same with a core of its own, where nobody wants the time: a virtual machine's sleeps are milliseconds longer."""

_LONGEST_S = 0.5


class WallClockLoop(EventHeap, asyncio.SelectorEventLoop):
    """A selector loop whose heap of events is due by the real clock; time 0 is the first `run_before`.

    `now` is the time as the node knows it: that of the last event or answer, read from the clock. `awake_s` is how long
    before an event it polls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.awake_s = AWAKE_S
        self._zero: float | None = None
        self._error: BaseException | None = None

    def time(self) -> float:
        """Real seconds since time 0."""
        return 0.0 if self._zero is None else time.perf_counter() - self._zero

    @property
    def has_begun(self) -> bool:
        """Whether the clock runs."""
        return self._zero is not None

    def since_zero(self, perf_counter_s: float) -> float:
        """What this clock showed at a reading of `time.perf_counter`."""
        assert self._zero is not None
        return perf_counter_s - self._zero

    def settled(self) -> bool:
        """True: no two events of the real world are at one instant."""
        return True

    def run_before(self, until_s: float) -> None:
        """Let everything happen until the clock shows `until_s`; what is late for an earlier instant happens, too.

        Stops early after an event that calls `halt`. Works inside another running loop. What a callback raises, of a
        socket's say, is the caller's.
        """
        if self._zero is None:
            self._zero = time.perf_counter()
        events, ready, select = self.events, self._ready, self._selector.select  # type: ignore[attr-defined]
        take_in = self._process_events  # type: ignore[attr-defined]
        self._halted = False
        with self._running():
            while not self._halted:
                now = self.time()
                due_s = events[0][0] if events else math.inf
                timeout = 0.0
                if due_s <= now and due_s < until_s:
                    event = heapq.heappop(events)
                    self.now = now
                    event[4](event[2], event[3])
                elif now >= until_s:
                    break
                elif not ready:
                    timeout = min(max(min(due_s, until_s) - now - self.awake_s, 0.0), _LONGEST_S)
                take_in(select(timeout))
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if not handle.cancelled():
                        handle._run()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if not self._halted:
            self.now = until_s

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Let `run_before` raise what a callback has raised, where asyncio would only log it."""
        if "handle" in context and isinstance(context.get("exception"), BaseException):
            self._error, self._halted = context["exception"], True
        else:
            super().call_exception_handler(context)
