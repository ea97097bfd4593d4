"""The reference engine: a node on the virtual-time asyncio loop, controlled from outside or by coroutines within."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from heapq import heappush
from typing import Any

import anyio
import numpy as np

from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.pools import KINDS, PoolKind
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.checks import check_ahead, check_setting
from deeprec_env.simulation.loop import ARRIVAL, ENTRY, VirtualTimeLoop
from deeprec_env.simulation.pool import Pool, StageLog
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.simulation.simulated_servers import simulated_servers
from deeprec_env.simulation.window_meter import WindowMeter
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic

_DISPATCHED_AHEAD = 256
"""Queries dispatched at once; a change of settings dispatches those that have not arrived again."""


class AsyncioEngine:
    """A node in virtual time: the reference for every other engine.

    It is also what a coroutine of the user's is given: it may read `now_s`, `arrived`, `completed`, `in_flight`,
    `setting`, `batch_size`, `threshold`, `plan`, `waiting` and `busy`, set the first four of these, and
    `await anyio.sleep(...)`.
    """

    __slots__ = (
        *("_before", "_completion_s", "_generation", "_in_force", "_items", "_left", "_logs", "_loop", "_meter"),
        *("_arrival_s", "_offloaded", "_pools", "_query", "_queues", "_scenario", "_setting", "_settings"),
        *("_stop_at", "_sub_batches", "_task", "_traffic", "_transfer_s", "arrived", "finished"),
    )
    """No others: a slip in a name (`node.batchsize = 3`) is an error, and does not go unnoticed."""

    def __init__(
        self,
        scenario: Scenario,
        traffic: Traffic,
        coroutines: Sequence[Callable[[AsyncioEngine], Coroutine[Any, Any, object]]] = (),
    ) -> None:
        self._scenario = scenario
        self._traffic, self._before = traffic, 0  # of the queries from the `_before`-th on
        self._setting = scenario.setting
        self._settings = [scenario.setting.numbers]  # all that have been in force, in turn
        self._sub_batches = scenario.sub_batches
        self._loop = VirtualTimeLoop()
        self._meter = WindowMeter(scenario)
        self._logs = [StageLog() for _ in scenario.stages]
        self._pools: list[dict[PoolKind, Pool]] = []
        for position, (stage, log) in enumerate(zip(scenario.stages, self._logs, strict=True)):

            def leave(part: int, position: int = position) -> None:
                self._leave(position, part)

            pools: dict[PoolKind, Pool] = {}
            for kind, spec in stage.pools().items():
                pool = Pool(2 * position + KINDS.index(kind), self._loop, spec.servers, log, leave)
                pool.serve_by(simulated_servers(self._loop, spec, stage.overhead_s, log, pool.complete))
                pools[kind] = pool
            self._pools.append(pools)
        # By stage, for CPU and accelerator, what lets a query enter the pool; and by stage which queries are offloaded.
        self._queues = [[pools[kind].enter if kind in pools else _no_pool for kind in KINDS] for pools in self._pools]
        self._offloaded = [log.offloaded for log in self._logs]
        self._transfer_s = [stage.transfer_s for stage in scenario.stages]
        self._arrival_s: list[float] = []  # of dispatched queries; so are the next four
        self._items: list[int] = []
        self._query: list[int] = []
        self._in_force: list[int] = []  # as places in `_settings`
        self._completion_s: list[float] = []
        self._left: list[int] = []  # sub-batches of each that have not completed
        self.arrived = 0
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
        """Queries that have arrived and not completed."""
        return self.arrived - len(self.finished)

    def waiting(self, pool: str = "cpu", stage: int = 0) -> int:
        """Requests in the queue of a pool ("cpu" or "accelerator")."""
        return self._pool(pool, stage).waiting_requests()

    def busy(self, pool: str = "cpu", stage: int = 0) -> int:
        """Busy servers of a pool ("cpu" or "accelerator")."""
        return self._pool(pool, stage).busy

    @property
    def setting(self) -> Setting:
        """What is in force; settable."""
        return self._setting

    @setting.setter
    def setting(self, setting: Setting) -> None:
        self.control(setting)

    @property
    def batch_size(self) -> int:
        """Batch size in force; settable."""
        return self._setting.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        self.control(self._setting.replace(batch_size=batch_size))

    @property
    def threshold(self) -> Threshold:
        """Offload threshold in force; settable."""
        return self._setting.threshold

    @threshold.setter
    def threshold(self, threshold: Threshold) -> None:
        self.control(self._setting.replace(threshold=threshold))

    @property
    def plan(self) -> int:
        """Index of the plan in force; settable, by its name too."""
        return self._setting.plan

    @plan.setter
    def plan(self, plan: int | str) -> None:
        self.control(self._setting.replace(plan=self._scenario.plan_index(plan)))

    def control(self, setting: Setting) -> None:
        """Put a setting in force for the queries that arrive from now on."""
        if setting != self._setting:
            if not isinstance(setting, Setting):
                raise InputError("setting", setting, "must be a deeprec_env.scenario.setting.Setting")
            check_setting(self._scenario, setting)
            self._setting = setting
            self._settings.append(setting.numbers)
            self._forget_dispatched()

    def stretch_gaps(self, factor: float) -> None:
        """Make every gap of the arrivals still to come `factor` times as long."""
        ahead = self._traffic.part(self.arrived - self._before, len(self._traffic.items))
        self.expect(ahead.at(self.now_s + (ahead.arrival_s - self.now_s) * factor))

    def expect(self, ahead: Traffic) -> None:
        """Let `ahead` be the arrivals still to come, instead of those before."""
        check_ahead(ahead, self.now_s)
        self._traffic, self._before = ahead, self.arrived
        self._generation += 1
        self._forget_dispatched()
        self._push_arrival()

    # Running

    def advance(self, until_s: float) -> None:
        """Run up to a time; what happens at it is still to come."""
        self._run(until_s, None)

    def run_window(self, setting: Setting, begin_s: float, end_s: float) -> Window:
        """Run from `begin_s`, the present, to `end_s` under a setting and measure the window; in turn, no gaps."""
        self.control(setting)
        self.advance(end_s)
        return self._meter.close_window(self.records, begin_s, end_s)

    def run_until_completed(self, queries: int) -> None:
        """Run until n queries have completed."""
        if len(self.finished) < min(queries, self._known):
            self._run(math.inf, queries)

    def drain(self) -> None:
        """Run until every query has completed."""
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
        queries, each = slice(first, self.arrived), self._sub_batches
        stages = []
        for log in self._logs:
            begins = np.array(log.first[first * each : self.arrived * each + 1 : each], dtype=np.int64)
            requests = slice(int(begins[0]), int(begins[-1]))
            stages.append(
                StageRecords(
                    np.array(log.offloaded[first * each : self.arrived * each : each], dtype=np.bool_),
                    begins - begins[0],
                    np.array(log.start_s[requests], dtype=np.float64),
                    np.array(log.end_s[requests], dtype=np.float64),
                )
            )
        return Records(
            first,
            np.array(self._query[queries], dtype=np.int64),
            np.array(self._arrival_s[queries], dtype=np.float64),
            np.array(self._items[queries], dtype=np.int64),
            np.array(self._settings)[np.array(self._in_force[queries], dtype=np.int64)],
            np.array(self._completion_s[queries], dtype=np.float64),
            tuple(stages),
            self._scenario.controls,
        )

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
        if self._sub_batches == 1:
            self._enter(self._next_stage(0, query), query)
            return
        for part in range(query * self._sub_batches, query * self._sub_batches + self._left[query]):
            self._enter(self._next_stage(0, part), part)

    # A part is a sub-batch: the query itself, where there is one to each.

    def _enter(self, position: int, part: int) -> None:
        if self._transfer_s[position] > 0.0:
            due_s = self._loop.now + self._transfer_s[position]
            heappush(self._loop.events, (due_s, ENTRY, part, position, self._entry_due))
        else:
            self._queues[position][self._offloaded[position][part]](part)

    def _entry_due(self, part: int, position: int) -> None:
        self._queues[position][self._offloaded[position][part]](part)

    def _next_stage(self, position: int, part: int) -> int:
        """The first stage from `position` on that there is work for: plans skip the others."""
        while position < len(self._logs):
            first = self._logs[position].first
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
        if self._left[query]:
            return
        self._completion_s[query] = self._loop.now
        self.finished.append(query)
        if len(self.finished) == self._stop_at:
            self._loop.halt()

    # Dispatch

    def _dispatch(self) -> None:
        begin = len(self._arrival_s)
        end = min(begin + _DISPATCHED_AHEAD, self._known)
        ahead = self._traffic.part(begin - self._before, end - self._before)
        from deeprec_env.simulation.dispatch import dispatch  # Numba is loaded when the first query arrives

        for log, stage in zip(self._logs, dispatch(self._scenario, ahead, self._setting), strict=True):
            requests = len(stage.base_s)
            log.offloaded += stage.offloaded.tolist()
            log.first += (stage.first[1:] + log.first[-1]).tolist()
            log.left += np.diff(stage.first).tolist()
            log.base_s += stage.base_s.tolist()
            log.start_s += [math.inf] * requests
            log.end_s += [math.inf] * requests
        self._arrival_s += ahead.arrival_s.tolist()
        self._items += ahead.items.tolist()
        self._query += ahead.query.tolist()
        self._in_force += [len(self._settings) - 1] * (end - begin)
        self._completion_s += [math.inf] * (end - begin)
        most = min(self._sub_batches, self._scenario.fewest_items[self._setting.plan])
        self._left += np.minimum(ahead.items, most).tolist()

    def _forget_dispatched(self) -> None:
        keep = self.arrived
        for log in self._logs:
            parts = keep * self._sub_batches
            requests = log.first[parts]
            del log.first[parts + 1 :], log.offloaded[parts:], log.left[parts:]
            del log.base_s[requests:], log.start_s[requests:], log.end_s[requests:]
        del self._arrival_s[keep:], self._items[keep:], self._query[keep:], self._in_force[keep:]
        del self._completion_s[keep:], self._left[keep:]

    # Coroutines

    async def _host(self, coroutines: Sequence[Callable[[AsyncioEngine], Coroutine[Any, Any, object]]]) -> None:
        async with anyio.create_task_group() as group:
            for coroutine in coroutines:
                group.start_soon(coroutine, self)

    def _halt_on_error(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._loop.halt()

    def _pool(self, pool: str, stage: int) -> Pool:
        pools = self._pools[whole("stage", stage, 0, len(self._pools) - 1)]
        found = next((found for kind, found in pools.items() if kind == pool), None)
        if found is None:
            raise InputError("pool", pool, f"must be one of {', '.join(pools)}")
        return found


def _no_pool(query: int) -> None:
    raise AssertionError(f"query {query} was dispatched to a pool that is not there")
