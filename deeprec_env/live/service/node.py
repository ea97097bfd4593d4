"""The node behind a service: the queues, rules and windows of `AsyncioEngine`; queries come from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.live.plan import ModelPlan
from deeprec_env.live.servers import LiveOptions
from deeprec_env.live.service.clock import ServiceClock
from deeprec_env.live.service.latency_counts import LatencyCounts
from deeprec_env.live.service.query_log import ServiceLog
from deeprec_env.live.service.servers import RankQuery, Scores, ServiceServers
from deeprec_env.scenario.pools import KINDS, PoolKind
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.simulation.loop import EventHeap
from deeprec_env.simulation.window_meter import WindowMeter, measure_window
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic


class RequestFailed(RuntimeError):
    """The model refused a request of the query, or it took several workers with it; or the service has ended."""


class ServiceNode(AsyncioEngine):
    """A node in real time, on a loop of somebody else's, that is given its queries one by one.

    Workers are started and warmed up at once. Raises `InputError` for a pipeline, for more servers than cores, and for
    a model that does not fit in memory.
    """

    __slots__ = ("_clock", "_crew", "_done", "_meters", "_service_log", "answered", "failed", "latencies", "model_plan")

    def __init__(self, scenario: Scenario, options: LiveOptions) -> None:
        if scenario.node is None:
            raise InputError("scenario", "a pipeline", "must be a node: one model ranks what a request brings")
        self._crew: ServiceServers | None = None
        self._done = 0
        self.answered = 0  # queries that got scores
        self.failed = 0  # queries that got none: see `RequestFailed`
        self.latencies = LatencyCounts()
        self._meters: list[WindowMeter] = []
        self._clock = ServiceClock()

        def hire(scenario: Scenario, loop: EventHeap, traffic: Traffic) -> ServiceServers:
            self._crew = ServiceServers(scenario, self._clock, options)
            return self._crew

        try:
            super().__init__(scenario, Traffic.nothing(), loop=self._clock, servers=hire, log=ServiceLog)
            assert isinstance(self._log, ServiceLog)
            self._service_log = self._log
            self.model_plan: ModelPlan = next(iter(self.crew.pools.values())).plan  # what the model takes and returns
            if self._forecast is not None:
                self._forecast.expect(self.crew.most_items)
            self._prepare()
        except BaseException:
            if self._crew is not None:
                self._crew.close()
            self._clock.close()
            raise

    def _prepare(self) -> None:
        """Compile, or load, what the first window and the first deadline would wait for."""
        log = ServiceLog(self._scenario, with_items=True)
        for _ in range(2):  # a single entry, or none, is an array of another type
            log.take(0.0, self.crew.most_items)
        measure_window(log.records(0, 2), self._scenario, 0.0, 1.0)
        self.predicted_s(1)

    # Queries

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run on a loop from now on."""
        self._clock.hosted_by(loop)
        self.crew.attach(loop)

    def accept(self, inputs: Mapping[str, NDArray[Any]], items: int) -> asyncio.Future[Scores] | None:
        """As `take`: the query's scores, (items, outputs), or `RequestFailed`. None if the node sheds it."""
        future = self._clock.host.create_future()

        def answered(query: RankQuery) -> None:
            if future.done():  # whoever waited for it has given up
                return
            if query.failed or query.scores is None:
                future.set_exception(RequestFailed("the model refused a request, or workers died of it"))
            else:
                future.set_result(query.scores.copy())

        return future if self.take(inputs, items, answered) else None

    def take(self, inputs: Mapping[str, NDArray[Any]], items: int, answered: Callable[[RankQuery], None]) -> bool:
        """Let a query arrive now; False if the node sheds it. Else `answered` is called once, later.

        `inputs` have passed `model_plan.check_inputs`.
        """
        self._clock.now = now = self._clock.time()
        number, crew = self.arrived, self.crew
        crew.queries[number] = RankQuery(items, inputs, answered)
        away, sizes = self._service_log.take(now, items)
        self.arrived += 1
        if self._forecast is not None and not self._admits(number, self._forecast):
            self._shed(number)
            return False
        self._queues[0][away](number)
        if self._forecast is not None:
            away = self._offloaded[0][number]
        crew.work[KINDS[away]].entered([items] if away else sizes)
        return True

    def real_s(self) -> float:
        """Real seconds since the node was made."""
        return self._clock.time()

    def predicted_s(self, items: int) -> float:
        """How long a query of so many items would take if it arrived now, by measured mean service times."""
        away, sizes = self._service_log.cut_of(items)
        kinds: tuple[PoolKind, ...] = (KINDS[away],)
        if self.setting.offload == "predicted" and not away and len(self.crew.work) == 2:
            kinds = KINDS
        now = self._clock.time()
        return min(self.crew.work[kind].ends_in_s(now, sizes if kind == "cpu" else [items]) for kind in kinds)

    def backlog_s(self) -> float:
        """How long the pools will be at what waits, the longest of them."""
        return max(work.backlog_s() for work in self.crew.work.values())

    # What it is

    @property
    def scenario(self) -> Scenario:
        """What it serves."""
        return self._scenario

    @property
    def crew(self) -> ServiceServers:
        """The workers."""
        assert self._crew is not None
        return self._crew

    @property
    def completed(self) -> int:
        """Queries that have completed."""
        return self._done

    @property
    def in_flight(self) -> int:
        """Queries that have arrived, were not shed and have not completed."""
        return self.arrived - self._done - self.shed

    @property
    def waiting_in_all(self) -> int:
        """Requests in all queues."""
        return sum(pool.waiting_requests() for pools in self._pools for pool in pools.values())

    @property
    def busy_in_all(self) -> int:
        """Busy servers of all pools."""
        return sum(pool.busy for pools in self._pools for pool in pools.values())

    # Windows

    def meter(self) -> WindowMeter:
        """One more that measures windows in turn; queries are kept until each has seen them."""
        meter = WindowMeter(self._scenario)
        meter.first_open = self._service_log.held_from
        self._meters.append(meter)
        return meter

    def measure(self, meter: WindowMeter, begin_s: float, end_s: float) -> Window:
        """Metrics of [begin_s, end_s), which is past."""
        self._clock.now = self._clock.time()
        window = meter.close_window(self.records, begin_s, end_s)
        self._service_log.let_go(min(meter.first_open for meter in self._meters))
        return window if self._forecast is None else self._forecast.added_to(window, self._setting.numbers)

    def close(self) -> None:
        """End the workers; a second call does nothing. Queries that are left get `RequestFailed`."""
        if self._crew is not None:
            self._crew.close()
            left = list(self._crew.queries.values())
            self._crew.queries.clear()
            for query in left:
                query.failed = True
                query.answered(query)
        super().close()

    # The life of a query: one stage, which it enters at once

    def _leave(self, position: int, part: int) -> None:
        self._finish(part)

    def _push_arrival(self) -> None:
        """Arrivals come from outside."""

    def _shed(self, query: int) -> None:
        super()._shed(query)
        del self.crew.queries[query]

    def _finish(self, query: int) -> None:
        self._completion_s[query] = now = self._loop.now
        self._done += 1
        served = self.crew.queries.pop(query)
        if served.failed:
            self.failed += 1
        else:
            self.answered += 1
        self.latencies.add(now - self._arrival_s[query])
        try:
            served.answered(served)
        except Exception as error:  # whoever waits for scores must not harm the node
            context = {"message": "scores could not be handed on", "exception": error}
            self._clock.host.call_exception_handler(context)
