"""A virtual-time asyncio event loop: `time()` is simulated time, and waiting costs nothing."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

Event = tuple[float, int, int, Any, Callable[[int, Any], None]]
"""(time, kind, query, request, handler): a total order, by time, then kind, then query, then request.

The handler is called with query and request, or whatever stands in their places."""

TIMER, COMPLETION, ENTRY, ARRIVAL, START = -1, 0, 1, 2, 3
"""Kinds of event, in the order in which those of one instant happen. Timers are the coroutines' (sleeps, time-outs)."""


class EventHeap(asyncio.BaseEventLoop):
    """An asyncio event loop with a heap of events of its own, the coroutines' timers among them.

    Coroutines see an ordinary loop (tasks, futures, sleeps, time-outs, anyio). The node pushes its events straight on
    `events`, which spares it a handle and a context for each. asyncio's own timer heap would not do: it compares times
    alone, and fires timers of equal deadline in no particular order. What `now` is, and how the heap is worked off
    (`run_before`), is the matter of those who derive from it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.events: list[Event] = []
        self._halted = False
        self._timers = itertools.count()

    def run_before(self, until_s: float) -> None:
        """Let everything happen that is due before `until_s`, then set the time to it.

        Stops early, at the time reached, after an event that calls `halt`. Works inside another running loop.
        """
        raise NotImplementedError

    def settled(self) -> bool:
        """Whether nothing else is left to happen at the present instant."""
        return not self.events or self.events[0][0] != self.now

    def when_settled(self, pool: int, callback: Callable[[int, int], None]) -> None:
        """Call back with (0, pool) after everything else of this instant, pools in the order of their numbers."""
        self.when_settled_at(self.now, pool, callback)

    def when_settled_at(self, time_s: float, pool: int, callback: Callable[[int, int], None]) -> None:
        """`when_settled` of an instant to come; a pool always gives the same callback."""
        heapq.heappush(self.events, (time_s, START, 0, pool, callback))

    def halt(self) -> None:
        """Make `run_before` return after the current event."""
        self._halted = True

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back at the loop's time `when` (now, if that is past), before any event of the node at that instant."""
        handle = asyncio.TimerHandle(max(when, self.now), callback, args, self, context)
        heapq.heappush(self.events, (handle.when(), TIMER, next(self._timers), handle, self._fire))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back `delay` of the loop's seconds from now."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _fire(self, number: int, handle: asyncio.TimerHandle) -> None:
        self._ready.append(handle)  # type: ignore[attr-defined]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays in the heap until its time; it is skipped there."""

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Make this the running loop, and give back the outer one (a notebook's, say) after it."""
        self._check_closed()  # type: ignore[attr-defined]
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(outer)


class VirtualTimeLoop(EventHeap):
    """A loop without a selector: when nothing is ready it jumps to the next event of its heap."""

    def time(self) -> float:
        """Simulated seconds since the loop was made."""
        return self.now

    def run_before(self, until_s: float) -> None:
        """Let everything happen that is due before `until_s`, then set the time to it.

        Stops early, at the time reached, after an event that calls `halt`. Works inside another running loop.
        """
        events, ready, pop = self.events, self._ready, heapq.heappop  # type: ignore[attr-defined]
        self._halted = False
        with self._running():
            while True:
                while ready:
                    handle = ready.popleft()
                    if not handle.cancelled():
                        handle._run()
                if self._halted or not events or events[0][0] >= until_s:
                    break
                event = pop(events)
                self.now = event[0]
                event[4](event[2], event[3])
        if not self._halted and until_s < math.inf:
            self.now = until_s

    def run_in_executor(self, *args: object) -> Any:
        """Refused: a thread takes real time, which virtual time can't wait for."""
        raise RuntimeError("threads and blocking calls have no place in virtual time: call the function directly")

    def _run_once(self) -> None:
        """One turn of `run_forever` and `run_until_complete`, which BaseEventLoop drives."""
        ready = self._ready  # type: ignore[attr-defined]
        if not ready:
            if not self.events:
                raise RuntimeError("nothing is left to happen, yet a task still waits")
            event = heapq.heappop(self.events)
            self.now = event[0]
            event[4](event[2], event[3])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def __del__(self) -> None:
        """Nothing to warn of: a loop without selector and sockets holds no resource that must be closed."""

    def _process_events(self, event_list: object) -> None:
        """There is no selector whose events could be processed."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""
