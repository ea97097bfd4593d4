"""Worker processes as the servers of a service's pools: they score what came with the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.live.servers import LiveOptions, check_workers, model_of
from deeprec_env.live.service.clock import ServiceClock
from deeprec_env.live.service.mean_work import MeanWork
from deeprec_env.live.worker_pool import Answer, WorkerPool
from deeprec_env.scenario.pools import PoolKind
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.batching_pool import ServeBatch
from deeprec_env.simulation.pool import Serve, StageLog
from deeprec_env.workload.checked import size_probabilities

Scores = NDArray[np.float32]


@dataclass(slots=True, eq=False)
class RankQuery:
    """A query that was accepted: its inputs by name, (items, ...), and its scores, (items, outputs), as they come.

    `answered` is called once. `scores` may be a view that the worker's next request overwrites: copy them, or use them
    in that call.
    """

    items: int
    inputs: Mapping[str, NDArray[Any]]
    answered: Callable[[RankQuery], None]
    scores: Scores | None = None
    handed_over: int = 0  # items that are with workers, or were
    failed: bool = False

    def take(self, scores: Scores, begin: int) -> None:
        """Scores of the items from `begin` on have come."""
        if len(scores) == self.items:
            self.scores = scores
        else:
            if self.scores is None:
                self.scores = np.empty((self.items, scores.shape[1]), dtype=np.float32)
            self.scores[begin : begin + len(scores)] = scores


class ServiceServers:
    """The servers of a node's pools (`Servers`); `queries` by number are those that were accepted and not answered."""

    with_items = True

    def __init__(self, scenario: Scenario, clock: ServiceClock, options: LiveOptions) -> None:
        check_workers(scenario)
        self._scenario, self._clock, self._options = scenario, clock, options
        self.most_items = int(size_probabilities(scenario.workload.sizes)[0].max())
        self.queries: dict[int, RankQuery] = {}
        self.pools: dict[PoolKind, WorkerPool] = {}
        self.work: dict[PoolKind, MeanWork] = {}

    def one_by_one(self, position: int, kind: PoolKind, log: StageLog, complete: Callable[[int, int], None]) -> Serve:
        """See `Servers`. As `in_batches` of one, without the lists: it is the way of nearly all requests."""
        clock, queries, served = self._clock, self.queries, dict[int, tuple[int, int]]()
        start_s, end_s, items_of = log.start_s, log.end_s, log.items
        assert items_of is not None

        def answered(answer: Answer) -> None:
            ticket, received_s, scores = answer.ticket, answer.received_s, answer.scores
            number, begin = served.pop(ticket)
            query = queries[number]
            clock.now = end_s[ticket] = clock.since_zero(received_s)
            work.ended(ticket, received_s - answer.sent_s)
            query.take(scores, begin)
            if not answer.ok:
                query.failed = True
            complete(number, ticket)

        pool, work = self._hire(position, kind, answered)

        def serve(number: int, request: int, busy: int) -> None:
            query, items = queries[number], items_of[request]
            begin = query.handed_over
            query.handed_over = end = begin + items
            served[request] = number, begin
            inputs = query.inputs
            if items < query.items:
                inputs = {name: values[begin:end] for name, values in inputs.items()}
            start_s[request] = sent_s = clock.since_zero(pool.submit(request, items, inputs=inputs))
            work.started(request, sent_s, items, 1)

        return serve

    def in_batches(
        self, position: int, kind: PoolKind, log: StageLog, complete: Callable[[int, int], None]
    ) -> ServeBatch:
        """See `Servers`."""
        clock, queries, served = self._clock, self.queries, dict[int, list[_Part]]()
        start_s, end_s, items_of = log.start_s, log.end_s, log.items
        assert items_of is not None

        def answered(answer: Answer) -> None:
            clock.now = received_s = clock.since_zero(answer.received_s)
            members = served.pop(answer.ticket)
            work.ended(answer.ticket, answer.received_s - answer.sent_s)
            begin = 0
            for member in members:
                query, end = member.query, begin + member.items
                query.take(answer.scores[begin:end], member.begin)
                query.failed |= not answer.ok
                end_s[member.request] = received_s
                begin = end
            for member in members:
                complete(member.number, member.request)

        pool, work = self._hire(position, kind, answered)

        def serve(members: list[tuple[int, int]], busy: int) -> None:
            parts = [_Part(number, queries[number], request, items_of[request]) for number, request in members]
            carrier = members[0][1]
            served[carrier] = parts
            items = sum(part.items for part in parts)
            sent_s = clock.since_zero(pool.submit(carrier, items, inputs=_inputs(parts)))
            work.started(carrier, sent_s, items, len(parts))
            for _, request in members:
                start_s[request] = sent_s

        return serve

    def _hire(self, position: int, kind: PoolKind, answered: Callable[[Answer], None]) -> tuple[WorkerPool, MeanWork]:
        """The workers of a pool, and what they have to do."""
        spec = self._scenario.stages[position].pools()[kind]
        model, rows_scale = model_of(spec, self._options)
        self.pools[kind] = WorkerPool(
            model,
            spec.servers,
            answered,
            most_items=self.most_items if spec.batching is None else max(self.most_items, spec.batching.max_items),
            rows_scale=rows_scale,
            device="cuda" if kind == "accelerator" else "cpu",
            seed=self._options.seed,
            spares=self._options.spares if kind == "cpu" else 0,
        )
        self.work[kind] = MeanWork(spec, self.most_items)
        return self.pools[kind], self.work[kind]

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a loop call back when workers answer."""
        for pool in self.pools.values():
            pool.attach(loop)

    def close(self) -> None:
        """End the workers; a second call does nothing."""
        for pool in self.pools.values():
            pool.close()

    @property
    def deaths(self) -> int:
        """Workers that have died and were replaced."""
        return sum(pool.deaths for pool in self.pools.values())

    @property
    def alive(self) -> int:
        """Workers that can serve now."""
        return sum(pool.alive for pool in self.pools.values())

    @property
    def workers(self) -> int:
        """Workers that there are when all are well."""
        return sum(pool.workers for pool in self.pools.values())


@dataclass(slots=True)
class _Part:
    """A request of a query: the items from `begin` on."""

    number: int
    query: RankQuery
    request: int
    items: int
    begin: int = field(init=False)

    def __post_init__(self) -> None:
        self.begin = self.query.handed_over
        self.query.handed_over += self.items


def _inputs(parts: list[_Part]) -> Mapping[str, NDArray[Any]]:
    if len(parts) == 1:
        (part,) = parts
        if part.items == part.query.items:
            return part.query.inputs
        return {name: values[part.begin : part.begin + part.items] for name, values in part.query.inputs.items()}
    return {name: np.concatenate([part.query.inputs[name] for part in parts]) for name in parts[0].query.inputs}
