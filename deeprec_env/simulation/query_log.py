"""What the asyncio engine keeps of its queries: lists that grow as they are dispatched, and become records."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from deeprec_env.latency import checked
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PLAN, Setting, SettingNumbers
from deeprec_env.simulation.kernel_choice import decided_on_entry
from deeprec_env.simulation.pool import StageLog
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.workload.stream import Traffic


class Arrival(NamedTuple):
    """A query or a sub-batch of one: `items` of the whole query, and the setting in force for it."""

    part: int
    arrival_s: float
    items: int
    setting: SettingNumbers


class QueryLog:
    """Queries that have been dispatched, one entry each in every list, and by stage their requests.

    Sub-batches of a query ("parts") are numbered through: `sub_batches` of each query.
    """

    def __init__(self, scenario: Scenario, with_items: bool = False) -> None:
        self._scenario, self._sub_batches = scenario, scenario.sub_batches
        by_state = not decided_on_entry(scenario)
        in_batches = any(stage.batching is not None for stage in scenario.stages)
        self.stages = [StageLog(by_state, in_batches, with_items) for _ in scenario.stages]
        self.settings = [scenario.setting.numbers]  # all that have been in force, in turn
        self.arrival_s: list[float] = []
        self.items: list[int] = []
        self.query: list[int] = []
        self.in_force: list[int] = []  # as places in `settings`
        self.completion_s: list[float] = []
        self.left: list[int] = []  # sub-batches of each that have not completed

    def dispatch(self, ahead: Traffic, setting: Setting) -> None:
        """Add queries under the setting in force, the last of `settings`."""
        from deeprec_env.simulation.dispatch import dispatch  # Numba is loaded when the first query arrives

        count = len(ahead.items)
        for log, stage in zip(self.stages, dispatch(self._scenario, ahead, setting), strict=True):
            requests = len(stage.base_s)
            log.offloaded += stage.offloaded.tolist()
            log.first += (stage.first[1:] + log.first[-1]).tolist()
            log.left += np.diff(stage.first).tolist()
            log.base_s += stage.base_s.tolist()
            log.start_s += [math.inf] * requests
            log.end_s += [math.inf] * requests
            if log.first_u is not None:
                log.first_u += np.append(stage.u, math.nan)[stage.first[:-1]].tolist()
            if log.carries is not None:
                log.carries += [True] * requests
            if log.items is not None:
                log.items += stage.items.tolist()
        self.arrival_s += ahead.arrival_s.tolist()
        self.items += ahead.items.tolist()
        self.query += ahead.query.tolist()
        self.in_force += [len(self.settings) - 1] * count
        self.completion_s += [math.inf] * count
        most = min(self._sub_batches, self._scenario.fewest_items[setting.plan])
        self.left += np.minimum(ahead.items, most).tolist()

    def forget(self, keep: int) -> None:
        """Drop all queries but the first `keep`."""
        parts = keep * self._sub_batches
        for log in self.stages:
            requests = log.first[parts]
            del log.first[parts + 1 :], log.offloaded[parts:], log.left[parts:]
            del log.base_s[requests:], log.start_s[requests:], log.end_s[requests:]
            if log.first_u is not None:
                del log.first_u[parts:]
            if log.carries is not None:
                del log.carries[requests:]
            if log.items is not None:
                del log.items[requests:]
        del self.arrival_s[keep:], self.items[keep:], self.query[keep:], self.in_force[keep:]
        del self.completion_s[keep:], self.left[keep:]

    def arrival(self, part: int) -> Arrival:
        """What is known of a part's query."""
        query = part // self._sub_batches
        return Arrival(part, self.arrival_s[query], self.items[query], self.settings[self.in_force[query]])

    def shed(self, query: int) -> None:
        """Refuse a query: it never completes, and none of its requests comes about."""
        self.completion_s[query] = math.nan
        for log in self.stages:
            begin, end = log.first[query * self._sub_batches], log.first[(query + 1) * self._sub_batches]
            log.start_s[begin:end] = log.end_s[begin:end] = [-math.inf] * (end - begin)

    def offload(self, position: int, part: int) -> None:
        """Let a query that was dispatched to a stage's CPU be one request on its accelerator."""
        log = self.stages[position]
        begin, end = log.first[part], log.first[part + 1]
        log.offloaded[part], log.left[part] = True, 1
        query = part // self._sub_batches
        most = self._scenario.planned_items[int(self.settings[self.in_force[query]][PLAN])][position]
        items = min(self.items[query], most)
        log.base_s[begin] = self.accelerator_s(position, part, items)
        if log.items is not None:
            log.items[begin] = items
        log.start_s[begin + 1 : end] = log.end_s[begin + 1 : end] = [-math.inf] * (end - begin - 1)

    def accelerator_s(self, position: int, part: int, items: int) -> float:
        """Service without contention of `items` items on a stage's accelerator, with a query's plan and U."""
        plan = int(self.settings[self.in_force[part // self._sub_batches]][PLAN])
        pool, first_u = self._scenario.planned_stages[plan][position].accelerator, self.stages[position].first_u
        assert pool is not None
        assert first_u is not None
        return float(np.ravel(checked.base_s(pool.latency, np.array([items]), np.array([first_u[part]])))[0])

    def records(self, first: int, arrived: int) -> Records:
        """The queries from the `first`-th to before the `arrived`-th."""
        queries, each = slice(first, arrived), self._sub_batches
        stages = []
        for log in self.stages:
            begins = np.array(log.first[first * each : arrived * each + 1 : each], dtype=np.int64)
            requests = slice(int(begins[0]), int(begins[-1]))
            stages.append(
                StageRecords.of_held(
                    np.array(log.offloaded[first * each : arrived * each : each], dtype=np.bool_),
                    begins - begins[0],
                    np.array(log.start_s[requests], dtype=np.float64),
                    np.array(log.end_s[requests], dtype=np.float64),
                    None if log.carries is None else np.array(log.carries[requests], dtype=np.bool_),
                )
            )
        return Records(
            first,
            np.array(self.query[queries], dtype=np.int64),
            np.array(self.arrival_s[queries], dtype=np.float64),
            np.array(self.items[queries], dtype=np.int64),
            np.array(self.settings)[np.array(self.in_force[queries], dtype=np.int64)],
            np.array(self.completion_s[queries], dtype=np.float64),
            tuple(stages),
            self._scenario.controls,
        )
