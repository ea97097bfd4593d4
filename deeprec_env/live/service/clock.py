"""The clock of a node whose loop is somebody else's: a web server's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from deeprec_env.simulation.loop import EventHeap


class ServiceClock(EventHeap):
    """Real seconds since it was made; what a node has to do later a running asyncio loop does.

    `now` is the time as the node knows it: that of the last arrival or answer. It is no loop of its own: nothing runs
    on it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._zero = time.perf_counter()
        self.host: asyncio.AbstractEventLoop

    def hosted_by(self, host: asyncio.AbstractEventLoop) -> None:
        """Let a loop call back."""
        self.host = host

    def time(self) -> float:
        """Real seconds since the clock was made."""
        return time.perf_counter() - self._zero

    def since_zero(self, perf_counter_s: float) -> float:
        """What this clock showed at a reading of `time.perf_counter`."""
        return perf_counter_s - self._zero

    def settled(self) -> bool:
        """True: no two events of the real world are at one instant."""
        return True

    def when_settled(self, pool: int, callback: Callable[[int, int], None]) -> None:
        """Call back with (0, pool) after what happens now."""
        self.host.call_soon(self._fire_at, pool, callback)

    def when_settled_at(self, time_s: float, pool: int, callback: Callable[[int, int], None]) -> None:
        """Call back with (0, pool) at a time to come."""
        self.host.call_later(max(0.0, time_s - self.time()), self._fire_at, pool, callback)

    def _fire_at(self, pool: int, callback: Callable[[int, int], None]) -> None:
        self.now = self.time()
        callback(0, pool)
