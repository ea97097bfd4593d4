"""The live engine: the node of the asyncio engine on the wall clock, with worker processes for its servers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from deeprec_env.live.core_pinning import on_core
from deeprec_env.live.servers import LiveOptions, StageTimes, WorkerServers
from deeprec_env.live.wall_clock import AWAKE_ALONE_S, WallClockLoop
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.simulation.loop import EventHeap
from deeprec_env.simulation.pool import StageLog
from deeprec_env.workload.stream import Traffic


class LiveEngine(AsyncioEngine):
    """A node in real time: the queues, rules and windows of `AsyncioEngine`, real models and a real clock.

    Workers are started and warmed up at once; time 0 is the first call that runs the node. From then on time passes
    also between calls: what is due meanwhile happens late, at the next call, and `entry_s` says how late. Latency is
    from the intended arrival. Every pool takes as many workers as it has servers.
    """

    __slots__ = ("_crew", "_entry_s")

    def __init__(
        self,
        scenario: Scenario,
        traffic: Traffic,
        coroutines: Sequence[Callable[[AsyncioEngine], Coroutine[Any, Any, object]]] = (),
        options: LiveOptions | None = None,
    ) -> None:
        self._entry_s: list[float] = []
        self._crew: WorkerServers | None = None
        loop = WallClockLoop()
        options = LiveOptions() if options is None else options
        try:
            super().__init__(scenario, traffic, coroutines, loop=loop, servers=partial(self._hire, options=options))
        except BaseException:
            self._dismiss()
            loop.close()
            raise
        if self.crew.cores.dispatcher is not None:
            loop.awake_s = AWAKE_ALONE_S

    @property
    def crew(self) -> WorkerServers:
        """The workers, and what was measured of them."""
        assert self._crew is not None
        return self._crew

    @property
    def entry_s(self) -> Floats:
        """When each query that has arrived was taken up, float64 (queries,): at or after its intended arrival."""
        return np.array(self._entry_s)

    @property
    def stage_logs(self) -> list[StageLog]:
        """By stage, its requests."""
        return self._log.stages

    @property
    def times(self) -> list[StageTimes]:
        """By stage, the workers' own times."""
        return self.crew.times

    def close(self) -> None:
        """End the workers and the user's coroutines; a second call does nothing."""
        try:
            super().close()
        finally:
            self._dismiss()

    def _hire(self, scenario: Scenario, loop: EventHeap, traffic: Traffic, options: LiveOptions) -> WorkerServers:
        self._crew = WorkerServers(scenario, loop, options)
        return self._crew

    def _dismiss(self) -> None:
        if self._crew is not None:
            self._crew.close()

    def _run(self, until_s: float, stop_at: int | None) -> None:
        with _undisturbed(), on_core(self.crew.cores.dispatcher):
            super()._run(until_s, stop_at)

    def _arrive(self, query: int, generation: int) -> None:
        if generation == self._generation:
            self._entry_s.append(self._loop.now)
        super()._arrive(query, generation)

    def _ahead(self) -> int:
        """All before the clock runs; afterwards in parts, which do not hold up those who arrive."""
        return super()._ahead() if self._loop.time() > 0.0 else self._known


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the garbage collector, which takes milliseconds when it comes."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
