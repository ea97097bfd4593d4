"""What a service does while it serves: once a window the policy's setting, once a second what it shows of itself."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from deeprec_env.live.run import Controller
from deeprec_env.live.service.node import ServiceNode
from deeprec_env.simulation.windows import Window

SECONDS_SHOWN = 300

_MOST_BEHIND = 10
"""Windows that are made up for one by one; of a longer pause (a machine that slept) none is."""


@dataclass(frozen=True)
class Second:
    """A second of a service: rates a second, latencies in seconds (0 where nothing completed), and what was at its end.

    `queue` counts requests that wait, `busy_workers` those that serve; `threshold` is None where nothing is offloaded.
    """

    at_s: float
    offered_qps: float
    completed_qps: float
    p50_s: float
    p95_s: float
    p99_s: float
    violation_rate: float
    queue: int
    busy_workers: int
    workers_alive: int
    batch_size: int
    threshold: float | None

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return asdict(self)


class Monitor:
    """Closes windows of a node and its seconds."""

    def __init__(self, node: ServiceNode, controller: Controller | None) -> None:
        self._node, self._controller = node, controller
        self.history: deque[Second] = deque(maxlen=SECONDS_SHOWN)
        if controller is not None:
            node.control(controller(None))
        self.history.append(self._second(Window.empty()))

    @property
    def last(self) -> Second:
        """The second that ended last."""
        return self.history[-1]

    async def watch(self) -> None:
        """Close every second."""
        await self._each(1.0, lambda window: self.history.append(self._second(window)))

    async def control(self) -> None:
        """Close every window, and let the controller set the next one."""
        controller, node = self._controller, self._node
        if controller is not None:
            await self._each(node.scenario.control.interval_s, lambda window: node.control(controller(window)))

    async def _each(self, interval_s: float, closed: Callable[[Window], None]) -> None:
        node, meter = self._node, self._node.meter()
        index = math.floor(node.real_s() / interval_s)
        while True:
            end_s = (index + 1) * interval_s
            behind = (node.real_s() - end_s) / interval_s
            if behind > _MOST_BEHIND:
                index += math.floor(behind)
                end_s = (index + 1) * interval_s
            await asyncio.sleep(max(0.0, end_s - node.real_s()))
            if node.real_s() >= end_s:  # loops round what they sleep
                closed(node.measure(meter, index * interval_s, end_s))
                index += 1

    def _second(self, window: Window) -> Second:
        node, threshold = self._node, self._node.threshold
        return Second(
            at_s=time.time(),
            offered_qps=window.offered_qps,
            completed_qps=window.completed_qps,
            p50_s=window.p50_s,
            p95_s=window.p95_s,
            p99_s=window.p99_s,
            violation_rate=window.violation_rate,
            queue=node.waiting_in_all,
            busy_workers=node.busy_in_all,
            workers_alive=node.crew.alive,
            batch_size=node.batch_size,
            threshold=None if threshold is None or math.isinf(threshold) else float(threshold),
        )
