"""An asyncio loop that sleeps to the microsecond: epoll's own time-outs are whole milliseconds, rounded up."""

from __future__ import annotations

import asyncio
import select
import selectors


def precise_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are not late by milliseconds, nor several of them at once."""
    return asyncio.SelectorEventLoop(_PreciseSelector())


class _PreciseSelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors`."""
        if timeout is not None and timeout > 0.0:
            select.select([self.fileno()], [], [], timeout)  # readable as soon as something watched is ready
            timeout = 0.0
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        return found
