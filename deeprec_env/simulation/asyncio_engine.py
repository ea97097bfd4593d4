"""The reference engine: a node on the virtual-time asyncio loop, controlled from outside or by coroutines within."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from heapq import heappush
from typing import TYPE_CHECKING, Any

import anyio

from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.scenario.pools import KINDS, PoolKind
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import ADMIT_MS, ORDERS, Setting
from deeprec_env.simulation.checks import check_ahead, check_setting
from deeprec_env.simulation.kernel_choice import decided_on_entry
from deeprec_env.simulation.loop import ARRIVAL, ENTRY, EventHeap, VirtualTimeLoop
from deeprec_env.simulation.ordered_pool import OrderedPool
from deeprec_env.simulation.pool import Pool
from deeprec_env.simulation.query_log import QueryLog
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.setting_in_force import SettingInForce
from deeprec_env.simulation.simulated_pools import Servers, fcfs_pools, ordered_pools
from deeprec_env.simulation.simulated_servers import SimulatedServers
from deeprec_env.simulation.window_meter import WindowMeter
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic

if TYPE_CHECKING:
    from deeprec_env.simulation.forecast import Forecast

_DISPATCHED_AHEAD = 256
"""Queries dispatched at once; a change of settings dispatches those that have not arrived again."""


class AsyncioEngine(SettingInForce):
    """A node in virtual time: the reference for every other engine.

    It is also what a coroutine of the user's is given: it may read `now_s`, `arrived`, `completed`, `shed`,
    `in_flight`, `waiting` and `busy`, read and set `setting` and each part of it (`batch_size`, `threshold`, `plan`,
    `split`, `order`, `offload`, `admit_ms`), and `await anyio.sleep(...)`.

    On another loop, and with other servers, the same node runs elsewhere: on the wall clock, or on recorded times.
    """

    __slots__ = (
        *("_arrival_s", "_before", "_completion_s", "_firsts", "_forecast", "_generation", "_left", "_log", "_loop"),
        *("_meter", "_offloaded", "_ordered", "_pools", "_queues", "_scenario", "_setting", "_stop_at"),
        *("_sub_batches", "_task", "_traffic", "_transfer_s", "arrived", "finished", "shed"),
    )
    """No others: a slip in a name (`node.batchsize = 3`) is an error, and does not go unnoticed."""

    def __init__(
        self,
        scenario: Scenario,
        traffic: Traffic,
        coroutines: Sequence[Callable[[AsyncioEngine], Coroutine[Any, Any, object]]] = (),
        *,
        loop: EventHeap | None = None,
        servers: Callable[[Scenario, EventHeap, Traffic], Servers] = SimulatedServers,
        log: Callable[[Scenario, bool], QueryLog] = QueryLog,
    ) -> None:
        self._scenario = scenario
        self._traffic, self._before = traffic, 0  # of the queries from the `_before`-th on
        self._setting = scenario.setting
        self._sub_batches = scenario.sub_batches
        self._loop = VirtualTimeLoop() if loop is None else loop
        serving = servers(scenario, self._loop, traffic)
        self._meter = WindowMeter(scenario)
        self._log = log(scenario, serving.with_items)
        # By stage, for CPU and accelerator, what lets a query enter the pool.
        self._ordered: list[dict[PoolKind, OrderedPool]] = []  # none where all is decided on entry
        self._forecast: Forecast | None = None  # likewise
        if decided_on_entry(scenario):
            pools = fcfs_pools(scenario, self._loop, self._log, self._leave, serving)
            self._queues = [
                [by_kind[kind].enter if kind in by_kind else _no_pool for kind in KINDS] for by_kind in pools
            ]
            self._pools: Sequence[Mapping[PoolKind, Pool | OrderedPool]] = pools
        else:
            from deeprec_env.simulation.forecast import Forecast  # Numba is loaded for nodes that predict

            self._pools = self._ordered = ordered_pools(scenario, self._loop, self._log, self._leave, serving)
            self._forecast = Forecast(scenario, self._loop, self._ordered, int(traffic.items.max(initial=0)))
            positions = range(len(scenario.stages))
            self._queues = [[partial(self._queue_by_state, at, away) for away in (False, True)] for at in positions]
            self._sort_queues()
        self._transfer_s = [stage.transfer_s for stage in scenario.stages]
        # Lists that the log lengthens, by stage and by query.
        self._offloaded = [stage.offloaded for stage in self._log.stages]
        self._firsts = [stage.first for stage in self._log.stages]
        self._arrival_s, self._completion_s, self._left = self._log.arrival_s, self._log.completion_s, self._log.left
        self.arrived = 0
        self.shed = 0  # queries refused on arrival
        self.finished: list[int] = []  # queries in the order of their completion
        self._stop_at: int | None = None
        self._generation = 0  # of arrival times: events of an older one are stale
        self._task = self._loop.create_task(self._host(coroutines)) if coroutines else None
        if self._task is not None:
            self._task.add_done_callback(self._halt_on_error)
        self._push_arrival()

    # What callers and coroutines may read and do

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return self._loop.now

    @property
    def completed(self) -> int:
        """Queries that have completed."""
        return len(self.finished)

    @property
    def in_flight(self) -> int:
        """Queries that have arrived, were not shed and have not completed."""
        return self.arrived - len(self.finished) - self.shed

    def waiting(self, pool: str = "cpu", stage: int = 0) -> int:
        """Requests in the queue of a pool ("cpu" or "accelerator")."""
        return self._pool(pool, stage).waiting_requests()

    def busy(self, pool: str = "cpu", stage: int = 0) -> int:
        """Busy servers of a pool ("cpu" or "accelerator")."""
        return self._pool(pool, stage).busy

    def control(self, setting: Setting) -> None:
        """Put a setting in force for the queries that arrive from now on; its order for all that wait, too."""
        if setting != self._setting:
            if not isinstance(setting, Setting):
                raise InputError("setting", setting, "must be a deeprec_env.scenario.setting.Setting")
            check_setting(self._scenario, setting)
            self._setting = setting
            self._log.settings.append(setting.numbers)
            self._log.forget(self.arrived)
            self._sort_queues()

    def stretch_gaps(self, factor: float) -> None:
        """Make every gap of the arrivals still to come `factor` times as long."""
        ahead = self._traffic.part(self.arrived - self._before, len(self._traffic.items))
        self.expect(ahead.at(self.now_s + (ahead.arrival_s - self.now_s) * factor))

    def expect(self, ahead: Traffic) -> None:
        """Let `ahead` be the arrivals still to come, instead of those before; the node's slow phases stay."""
        check_ahead(ahead, self.now_s)
        self._traffic, self._before = ahead, self.arrived
        self._generation += 1
        self._log.forget(self.arrived)
        if self._forecast is not None:
            self._forecast.expect(int(ahead.items.max(initial=0)))
        self._push_arrival()

    # Running

    def advance(self, until_s: float) -> None:
        """Run up to a time; what happens at it is still to come."""
        self._run(until_s, None)

    def run_window(self, setting: Setting, begin_s: float, end_s: float) -> Window:
        """Run from `begin_s`, the present, to `end_s` under a setting and measure the window; in turn, no gaps."""
        self.control(setting)
        self.advance(end_s)
        window = self._meter.close_window(self.records, begin_s, end_s)
        return window if self._forecast is None else self._forecast.added_to(window, self._setting.numbers)

    def run_until_completed(self, queries: int) -> None:
        """Run until n queries have completed, or all that were not shed."""
        queries = min(queries, self._known - self.shed)
        if len(self.finished) < queries:
            self._run(math.inf, queries)

    def drain(self) -> None:
        """Run until every query has completed or been shed."""
        self.run_until_completed(self._known)

    @property
    def _known(self) -> int:
        """Queries that have arrived or are known to come."""
        return self._before + len(self._traffic.arrival_s)

    def _run(self, until_s: float, stop_at: int | None) -> None:
        self._stop_at = stop_at
        self._loop.run_before(until_s)
        if self._task is not None and self._task.done():
            self._task.result()  # an error of a user's coroutine is the caller's

    def close(self) -> None:
        """End the user's coroutines and close the loop; a second call does nothing.

        Raises what a coroutine raises when it is ended.
        """
        if self._loop.is_closed():
            return
        ended = self._task if self._task is not None and not self._task.done() else None
        try:
            if ended is not None:
                ended.cancel()
                self._loop.run_before(self._loop.now)
        finally:
            self._loop.close()
        if ended is not None and ended.done() and not ended.cancelled():
            ended.result()

    def finished_latency_s(self, begin: int, end: int) -> list[float]:
        """Latencies of the queries that completed `begin`-th to before `end`-th, in that order."""
        return [self._completion_s[query] - self._arrival_s[query] for query in self.finished[begin:end]]

    def records(self, first: int = 0) -> Records:
        """What is known of the queries that have arrived, from the `first`-th on."""
        return self._log.records(first, self.arrived)

    # The life of a query

    def _push_arrival(self) -> None:
        query = self.arrived
        if query == len(self._arrival_s):
            if query == self._known:
                return
            self._dispatch()
        heappush(self._loop.events, (self._arrival_s[query], ARRIVAL, query, self._generation, self._arrive))

    def _arrive(self, query: int, generation: int) -> None:
        if generation != self._generation:
            return
        if query == len(self._arrival_s):  # the settings have changed since it was pushed
            self._dispatch()
        self.arrived += 1
        self._push_arrival()
        if self._forecast is not None and not self._admits(query, self._forecast):
            self._shed(query)
            return
        if self._sub_batches == 1:
            self._enter(self._next_stage(0, query), query)
            return
        for part in range(query * self._sub_batches, query * self._sub_batches + self._left[query]):
            self._enter(self._next_stage(0, part), part)

    def _admits(self, query: int, forecast: Forecast) -> bool:
        limit_ms = self._setting.numbers[ADMIT_MS]
        return limit_ms == math.inf or forecast.latency_s(self._log.arrival(query)) <= limit_ms * 1e-3

    def _shed(self, query: int) -> None:
        self._log.shed(query)
        self.shed += 1
        if self._stop_at is not None:
            self._stop_at = min(self._stop_at, self._known - self.shed)
            if len(self.finished) == self._stop_at:
                self._loop.halt()

    # A part is a sub-batch: the query itself, where there is one to each.

    def _enter(self, position: int, part: int) -> None:
        if self._transfer_s[position] > 0.0:
            due_s = self._loop.now + self._transfer_s[position]
            heappush(self._loop.events, (due_s, ENTRY, part, position, self._entry_due))
        else:
            self._queues[position][self._offloaded[position][part]](part)

    def _entry_due(self, part: int, position: int) -> None:
        self._queues[position][self._offloaded[position][part]](part)

    def _queue_by_state(self, position: int, away: bool, part: int) -> None:
        """Let a part enter the stage's CPU or, if `away`, its accelerator: so it is too if that is predicted."""
        assert self._forecast is not None
        arrival = self._log.arrival(part)
        if not away and self._forecast.offloads(position, arrival):
            away = True
            self._log.offload(position, part)
        self._ordered[position][KINDS[away]].enter(self._forecast.waiting(position, away, arrival))

    def _next_stage(self, position: int, part: int) -> int:
        """The first stage from `position` on that there is work for: plans skip the others."""
        while position < len(self._firsts):
            first = self._firsts[position]
            if first[part + 1] > first[part]:
                break
            position += 1
        return position

    def _leave(self, position: int, part: int) -> None:
        following = self._next_stage(position + 1, part)
        if following < len(self._pools):
            due_s = self._loop.now + self._transfer_s[following]
            heappush(self._loop.events, (due_s, ENTRY, part, following, self._entry_due))
            return
        query = part // self._sub_batches
        self._left[query] -= 1
        if not self._left[query]:
            self._finish(query)

    def _finish(self, query: int) -> None:
        """A query has completed."""
        self._completion_s[query] = self._loop.now
        self.finished.append(query)
        if len(self.finished) == self._stop_at:
            self._loop.halt()

    # Dispatch

    def _ahead(self) -> int:
        """How many queries are dispatched at once."""
        return _DISPATCHED_AHEAD

    def _dispatch(self) -> None:
        begin = len(self._arrival_s)
        end = min(begin + self._ahead(), self._known)
        ahead = self._traffic.part(begin - self._before, end - self._before)
        self._log.dispatch(ahead, self._setting)

    def _sort_queues(self) -> None:
        for pools in self._ordered:
            for pool in pools.values():
                pool.reorder(ORDERS.index(self._setting.order))

    # Coroutines

    async def _host(self, coroutines: Sequence[Callable[[AsyncioEngine], Coroutine[Any, Any, object]]]) -> None:
        async with anyio.create_task_group() as group:
            for coroutine in coroutines:
                group.start_soon(coroutine, self)

    def _halt_on_error(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._loop.halt()

    def _pool(self, pool: str, stage: int) -> Pool | OrderedPool:
        pools = self._pools[whole("stage", stage, 0, len(self._pools) - 1)]
        found = next((found for kind, found in pools.items() if kind == pool), None)
        if found is None:
            raise InputError("pool", pool, f"must be one of {', '.join(pools)}")
        return found


def _no_pool(query: int) -> None:
    raise AssertionError(f"query {query} was dispatched to a pool that is not there")
