"""A node's pools: the queue that each scenario needs, before its servers, simulated or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from deeprec_env.scenario.pools import KINDS, PoolKind
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.batching_pool import BatchingPool, ServeBatch
from deeprec_env.simulation.loop import EventHeap
from deeprec_env.simulation.ordered_pool import OrderedPool
from deeprec_env.simulation.pool import Pool, Serve, StageLog
from deeprec_env.simulation.query_log import QueryLog


class Servers(Protocol):
    """Who serves the requests of a node: what a pool is given for its servers, made when the pool is.

    `complete` is the pool's. `with_items`: whether they need to know a request's items (`StageLog.items`).
    """

    with_items: bool

    def one_by_one(self, position: int, kind: PoolKind, log: StageLog, complete: Callable[[int, int], None]) -> Serve:
        """Servers of a stage's pool that take one request each."""

    def in_batches(
        self, position: int, kind: PoolKind, log: StageLog, complete: Callable[[int, int], None]
    ) -> ServeBatch:
        """Servers of a stage's accelerator that take requests of several queries together."""


def fcfs_pools(
    scenario: Scenario, loop: EventHeap, log: QueryLog, leave: Callable[[int, int], None], servers: Servers
) -> list[dict[PoolKind, Pool]]:
    """By stage the pools of a node that is `decided_on_entry`; `leave(stage, part)` is called when a part is done."""
    found: list[dict[PoolKind, Pool]] = []
    for position, (stage, requests) in enumerate(zip(scenario.stages, log.stages, strict=True)):
        found.append({})
        for kind, spec in stage.pools().items():
            number = 2 * position + KINDS.index(kind)
            pool = found[-1][kind] = Pool(number, loop, spec.servers, requests, _leaving(leave, position))
            pool.serve_by(servers.one_by_one(position, kind, requests, pool.complete))
    return found


def ordered_pools(
    scenario: Scenario, loop: EventHeap, log: QueryLog, leave: Callable[[int, int], None], servers: Servers
) -> list[dict[PoolKind, OrderedPool]]:
    """As `fcfs_pools`, of any other node."""
    found: list[dict[PoolKind, OrderedPool]] = []
    for position, (stage, requests) in enumerate(zip(scenario.stages, log.stages, strict=True)):
        found.append({})
        for kind, spec in stage.pools().items():
            number, left = 2 * position + KINDS.index(kind), _leaving(leave, position)
            pool = OrderedPool(number, loop, spec, stage.overhead_s, requests, left)
            if spec.batching is None:
                pool.serve_by(servers.one_by_one(position, kind, requests, pool.complete))
            else:

                def ask_s(part: int, items: int, position: int = position) -> float:
                    return log.accelerator_s(position, part, items)

                pool = batches = BatchingPool(number, loop, spec, stage.overhead_s, requests, left, ask_s)
                batches.serve_batches_by(servers.in_batches(position, kind, requests, pool.complete))
            found[-1][kind] = pool
    return found


def _leaving(leave: Callable[[int, int], None], position: int) -> Callable[[int], None]:
    return lambda part: leave(position, part)
