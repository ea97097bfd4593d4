"""An independent statement of the node's rules 4 to 9, 13 to 17 and 19: one plain event loop, slow and simple.

Nothing is shared with the engines but the scenario, the latency models, the noise and the window's type.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from deeprec_env.scenario import Scenario, Stage
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.pools import KINDS, PoolSpec, Slowness
from deeprec_env.scenario.setting import Setting
from deeprec_env.workload import Traffic
from deeprec_env.workload.noise import query_keys, uniforms
from tests.simulation.oracle import items_by_stage

COMPLETION, ENTRY, ARRIVAL, TIMER = range(4)
"""What happens at an instant, in this order; starts are last."""


@dataclass
class Request:
    """A part of a query at a stage; not started: infinite times."""

    part: int
    items: int
    start_s: float = math.inf
    end_s: float = math.inf
    carries: bool = True


@dataclass
class Visit:
    """A query at a stage: where it went, and its requests in the order of their parts, sub-batch by sub-batch."""

    accelerator: bool = False
    requests: list[list[Request]] = field(default_factory=list)

    @property
    def all_requests(self) -> list[Request]:
        return list(itertools.chain.from_iterable(self.requests))


@dataclass
class Query:
    number: int
    arrival_s: float
    items: list[int]  # by stage; 0: its plan skips the stage
    setting: Setting
    sub_batches: int
    visits: list[Visit]
    shed: bool = False
    left_s: list[float] = field(default_factory=list)  # of each sub-batch that is through

    @property
    def completion_s(self) -> float:
        if self.shed:
            return math.nan
        return max(self.left_s) if len(self.left_s) == self.sub_batches else math.inf


@dataclass
class Waiting:
    """A query, or a sub-batch of one, with requests that wait."""

    query: Query
    sub_batch: int
    entry_s: float
    entry: int
    slack: float
    stage_items: int
    requests: list[Request]

    def rank(self, order: str) -> tuple[float, float, int]:
        first = {"fcfs": self.entry, "small-first": self.stage_items, "least-slack": self.slack}[order]
        return first, self.query.number, self.sub_batch


@dataclass
class Running:
    start_s: float
    mean_s: float  # as it looked at the start


@dataclass
class Pool:
    stage: int
    kind: str
    waiting: list[Waiting] = field(default_factory=list)
    running: dict[int, Running] = field(default_factory=dict)


class NodeOracle:
    """The node under traffic; `advance` and `drain` as those of engines, what happens at the end still to come."""

    def __init__(self, scenario: Scenario, traffic: Traffic) -> None:
        self.scenario, self.setting, self.now_s = scenario, scenario.setting, 0.0
        self.noise_key, self.queries = traffic.noise_key, list[Query]()
        self.pools: dict[tuple[int, str], Pool] = {
            (position, kind): Pool(position, kind)
            for position, stage in enumerate(scenario.stages)
            for kind in stage.pools()
        }
        self.entries, self.services = itertools.count(), itertools.count()
        self.events: list[tuple[float, int, int, int, tuple[int, ...]]] = []
        self.items = dict(zip(traffic.query.tolist(), traffic.items.tolist(), strict=True))
        for number, time_s in zip(self.items, traffic.arrival_s.tolist(), strict=True):
            heapq.heappush(self.events, (time_s, ARRIVAL, number, 0, ()))
        self.largest = max([1, *traffic.items.tolist(), int(scenario.workload.sizes.probabilities()[0].max())])
        self.means: dict[tuple[int, str, int], Floats] = {}
        self.by_number: dict[int, Query] = {}
        self.changes_s: dict[tuple[int, str], tuple[bool, list[float]]] = {}
        self.slow_key = traffic.slow_key

    def control(self, setting: Setting) -> None:
        self.setting = setting

    def drain(self) -> None:
        self.advance(math.inf)

    def advance(self, until_s: float) -> None:
        """All instants before `until_s`: completions, entries, arrivals, then starts."""
        while self.events and self.events[0][0] < until_s:
            now_s = self.events[0][0]
            while self.events and self.events[0][0] == now_s:
                _, kind, number, part, more = heapq.heappop(self.events)
                if kind == ARRIVAL:
                    self._arrive(now_s, number)
                elif kind == ENTRY:
                    self._enter(now_s, self.by_number[number], more[0], part)
                elif kind == COMPLETION:
                    self._complete(now_s, self.by_number[number], part, *more)
            for pool in self.pools.values():
                self._start(now_s, pool)
        self.now_s = until_s

    # What happens

    def _arrive(self, now_s: float, number: int) -> None:
        by_stage = items_by_stage(self.scenario, self.items[number], self.setting.plan)
        parts = min(self.scenario.sub_batches, *(n for n in by_stage if n > 0))
        query = Query(number, now_s, by_stage, self.setting, parts, [Visit() for _ in by_stage])
        self.queries.append(query)
        self.by_number[number] = query
        limit = self.setting.admit_ms
        if limit is not None and self.predicted_s(now_s, self.items[number], number) > limit * 1e-3:
            query.shed = True
            return
        for sub_batch in range(parts):
            self._go_on(now_s, query, -1, sub_batch, arriving=True)

    def _go_on(self, now_s: float, query: Query, stage: int, sub_batch: int, arriving: bool = False) -> None:
        """To the next stage that its plan visits, if there is one."""
        ahead = [position for position in range(stage + 1, len(query.items)) if query.items[position] > 0]
        if not ahead:
            query.left_s.append(now_s)
            return
        transfer_s = self.scenario.stages[ahead[0]].transfer_s
        if arriving and transfer_s == 0.0:
            self._enter(now_s, query, ahead[0], sub_batch)
        else:
            heapq.heappush(self.events, (now_s + transfer_s, ENTRY, query.number, sub_batch, (ahead[0],)))

    def _enter(self, now_s: float, query: Query, position: int, sub_batch: int) -> None:
        items, visit = query.items[position], query.visits[position]
        if not visit.requests:
            visit.accelerator = self._to_accelerator(
                now_s, position, query.setting, items, query.arrival_s, query.number
            )
            visit.requests = self._cut(position, visit.accelerator, query.setting, items, query.sub_batches)
        kind, requests = "accelerator" if visit.accelerator else "cpu", visit.requests[sub_batch]
        mean_s = self._mean_s(position, kind, query.setting.plan, requests[0].items)
        slack = (query.arrival_s + self.scenario.sla_s) - mean_s
        entry = Waiting(query, sub_batch, now_s, next(self.entries), slack, items, list(requests))
        self.pools[position, kind].waiting.append(entry)
        batching = self.scenario.stages[position].batching
        if visit.accelerator and batching is not None:
            due_s = now_s + batching.max_wait_ms * 1e-3
            heapq.heappush(self.events, (due_s, TIMER, query.number, 0, ()))

    def _complete(self, now_s: float, query: Query, part: int, position: int, service: int) -> None:
        visit = query.visits[position]
        self.pools[position, "accelerator" if visit.accelerator else "cpu"].running.pop(service, None)
        for sub_batch, requests in enumerate(visit.requests):
            if requests[0].part <= part <= requests[-1].part:
                last = max(range(len(requests)), key=lambda index: (requests[index].end_s, index))
                if requests[last].part == part:
                    self._go_on(now_s, query, position, sub_batch)

    # Starts

    def _start(self, now_s: float, pool: Pool) -> None:
        spec, batching = self._spec(pool.stage, pool.kind, 0), self.scenario.stages[pool.stage].batching
        while pool.waiting and len(pool.running) < spec.servers:
            pool.waiting.sort(key=lambda entry: entry.rank(self.setting.order))
            if pool.kind == "accelerator" and batching is not None:
                together, total = list[Waiting](), 0
                for entry in pool.waiting:
                    if together and total + entry.stage_items > batching.max_items:
                        break
                    together.append(entry)
                    total += entry.stage_items
                full = total == batching.max_items or len(together) < len(pool.waiting)
                wait_s = batching.max_wait_ms * 1e-3
                if not full and not any(now_s >= entry.entry_s + wait_s for entry in pool.waiting):
                    return
                pool.waiting = pool.waiting[len(together) :]
                self._serve(now_s, pool, [(entry.query, entry.requests[0]) for entry in together], total)
            else:
                entry = pool.waiting[0]
                request = entry.requests.pop(0)
                if not entry.requests:
                    pool.waiting.pop(0)
                self._serve(now_s, pool, [(entry.query, request)], request.items)

    def _serve(self, now_s: float, pool: Pool, together: list[tuple[Query, Request]], items: int) -> None:
        (first, request), stage = together[0], self.scenario.stages[pool.stage]
        spec = self._spec(pool.stage, pool.kind, first.setting.plan)
        u = uniforms(query_keys(self.noise_key, pool.stage, np.array([first.number])), np.array([request.part]))
        base_s = float(spec.latency.base_s(np.array([items]), u)[0])
        factor = spec.slowdown(len(pool.running) + 1)
        slow_factor = spec.slowness.factor if spec.slowness and self._is_slow(now_s, pool, spec.slowness) else 1.0
        end_s = now_s + (base_s * factor * slow_factor + stage.overhead_s)
        mean_s = self._mean_s(pool.stage, pool.kind, first.setting.plan, items) * factor + stage.overhead_s
        service = next(self.services)
        pool.running[service] = Running(now_s, mean_s)
        for query, member in together:
            member.start_s, member.end_s, member.carries = now_s, end_s, member is request
            heapq.heappush(self.events, (end_s, COMPLETION, query.number, member.part, (pool.stage, service)))

    def _is_slow(self, now_s: float, pool: Pool, slowness: Slowness) -> bool:
        """Whether an odd or even number of phases has ended by now, and how they began."""
        number = 2 * pool.stage + KINDS.index("accelerator" if pool.kind == "accelerator" else "cpu")
        (key,) = query_keys(self.slow_key, 2**33 + number, np.array([0]))

        def uniform(place: int) -> float:
            return float(uniforms(np.array([key]), np.array([place]))[0])

        share = slowness.mean_slow_s / (slowness.mean_slow_s + slowness.mean_normal_s)
        began_slow, changes_s = self.changes_s.setdefault((pool.stage, pool.kind), (uniform(0) < share, []))
        while not changes_s or changes_s[-1] <= now_s:
            slow = began_slow == (len(changes_s) % 2 == 0)
            mean_s = slowness.mean_slow_s if slow else slowness.mean_normal_s
            length_s = -mean_s * math.log1p(-uniform(len(changes_s) + 1))
            changes_s.append(length_s + changes_s[-1] if changes_s else length_s)
        ended = sum(change_s <= now_s for change_s in changes_s)
        return began_slow == (ended % 2 == 0)

    # Dispatch

    def _cut(self, position: int, accelerator: bool, setting: Setting, items: int, parts: int) -> list[list[Request]]:
        """The requests of every sub-batch, whose items are dealt out one by one, as cards are."""
        shares = [len(range(place, items, parts)) for place in range(parts)]
        whole, numbers = accelerator or self.scenario.stages[position].whole, itertools.count()
        found = []
        for share in shares:
            most = share if whole else setting.batch_size
            count = math.ceil(share / most)
            if setting.split == "even":
                sizes = [share // count + (index < share % count) for index in range(count)]
            else:
                sizes = [min(most, share - index * most) for index in range(count)]
            found.append([Request(next(numbers), size) for size in sizes])
        return found

    def _to_accelerator(
        self, now_s: float, position: int, setting: Setting, items: int, arrival_s: float, number: float
    ) -> bool:
        stage = self.scenario.stages[position]
        if stage.cpu is None or stage.accelerator is None:
            return stage.cpu is None
        if setting.offload == "predicted":
            there_s, here_s = (
                self._pool_s(now_s, position, kind, setting, items, arrival_s, number)
                for kind in ("accelerator", "cpu")
            )
            return there_s < here_s
        return setting.threshold is not None and items >= setting.threshold

    # Prediction

    def predicted_s(self, now_s: float, items: int, number: float) -> float:
        """What admission foresees of a query that would arrive now under the setting in force."""
        total_s = 0.0
        for position, n in enumerate(items_by_stage(self.scenario, items, self.setting.plan)):
            if n > 0:
                accelerator = self._to_accelerator(now_s, position, self.setting, n, now_s, number)
                kind = "accelerator" if accelerator else "cpu"
                there_s = self._pool_s(now_s, position, kind, self.setting, n, now_s, number)
                total_s += self.scenario.stages[position].transfer_s + there_s
        return total_s

    def _pool_s(
        self, now_s: float, position: int, kind: str, setting: Setting, items: int, arrival_s: float, number: float
    ) -> float:
        """When a query of `items` items would be through with a pool, from now, if all took its mean."""
        pool, stage = self.pools[position, kind], self.scenario.stages[position]
        spec, accelerator = self._spec(position, kind, 0), kind == "accelerator"
        factor = spec.slowdown(max(1, len(pool.running)))

        def mean_s(plan: int, n: int) -> float:
            return self._mean_s(position, kind, plan, n) * factor + stage.overhead_s

        own = [request.items for request in self._cut(position, accelerator, setting, items, 1)[0]]
        order = self.setting.order
        slack = (arrival_s + self.scenario.sla_s) - self._mean_s(position, kind, setting.plan, own[0])
        rank = {"fcfs": math.inf, "small-first": float(items), "least-slack": slack}[order]
        before = [entry for entry in pool.waiting if entry.rank(order)[:2] < (rank, number)]
        if accelerator and stage.batching is not None:
            most, total = stage.batching.max_items, sum(entry.stage_items for entry in before) + items
            whole = (total - 1) // most
            work_ns = whole * round(mean_s(setting.plan, most) * 1e9)
            own = [total - whole * most]
        else:
            waiting = [(entry.query.setting.plan, request.items) for entry in before for request in entry.requests]
            work_ns = sum(round(mean_s(plan, n) * 1e9) for plan, n in waiting)
        free_s = [max(0.0, each.mean_s - (now_s - each.start_s)) for each in pool.running.values()]
        free_s = poured(sorted(free_s + [0.0] * (spec.servers - len(free_s))), work_ns)
        ends_s = []
        for n in own:
            ends_s.append(heapq.heappop(free_s) + mean_s(setting.plan, n))
            heapq.heappush(free_s, ends_s[-1])
        return max(ends_s)

    def _spec(self, position: int, kind: str, plan: int) -> PoolSpec:
        stage: Stage = self.scenario.planned_stages[plan][position]
        spec = stage.accelerator if kind == "accelerator" else stage.cpu
        assert spec is not None
        return spec

    def _mean_s(self, position: int, kind: str, plan: int, items: int) -> float:
        key = position, kind, plan
        if key not in self.means:
            batching = self.scenario.stages[position].batching
            most = max(self.largest, 0 if batching is None else batching.max_items)
            answer = self._spec(*key).latency.mean_s(np.arange(1, most + 1))
            self.means[key] = np.broadcast_to(np.asarray(answer, dtype=np.float64), most)
        return float(self.means[key][items - 1])


def poured(free_s: list[float], work_ns: int) -> list[float]:
    """Water-filling: when servers that come free at these ascending times would be through with the work, ascending."""
    below_s = work_ns / 1e9 + free_s[0]
    level_s, wet = below_s, 1
    while wet < len(free_s) and level_s > free_s[wet]:
        below_s += free_s[wet]
        wet += 1
        level_s = below_s / wet
    return [max(time_s, level_s) for time_s in free_s]
