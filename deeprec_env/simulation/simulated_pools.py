"""A node's pools in virtual time: the queue that each scenario needs, before its simulated servers."""

from __future__ import annotations

from collections.abc import Callable

from deeprec_env.scenario.pools import KINDS, PoolKind
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.batching_pool import BatchingPool
from deeprec_env.simulation.loop import VirtualTimeLoop
from deeprec_env.simulation.ordered_pool import OrderedPool
from deeprec_env.simulation.pool import Pool
from deeprec_env.simulation.query_log import QueryLog
from deeprec_env.simulation.simulated_servers import simulated_batches, simulated_servers


def fcfs_pools(
    scenario: Scenario, loop: VirtualTimeLoop, log: QueryLog, leave: Callable[[int, int], None]
) -> list[dict[PoolKind, Pool]]:
    """By stage the pools of a node that is `decided_on_entry`; `leave(stage, part)` is called when a part is done."""
    found: list[dict[PoolKind, Pool]] = []
    for position, (stage, requests) in enumerate(zip(scenario.stages, log.stages, strict=True)):
        found.append({})
        for kind, spec in stage.pools().items():
            number = 2 * position + KINDS.index(kind)
            pool = found[-1][kind] = Pool(number, loop, spec.servers, requests, _leaving(leave, position))
            pool.serve_by(simulated_servers(loop, spec, stage.overhead_s, requests, pool.complete))
    return found


def ordered_pools(
    scenario: Scenario, loop: VirtualTimeLoop, log: QueryLog, leave: Callable[[int, int], None]
) -> list[dict[PoolKind, OrderedPool]]:
    """As `fcfs_pools`, of any other node."""
    found: list[dict[PoolKind, OrderedPool]] = []
    for position, (stage, requests) in enumerate(zip(scenario.stages, log.stages, strict=True)):
        found.append({})
        for kind, spec in stage.pools().items():
            number, left = 2 * position + KINDS.index(kind), _leaving(leave, position)
            pool = OrderedPool(number, loop, spec, stage.overhead_s, requests, left)
            if spec.batching is None:
                pool.serve_by(simulated_servers(loop, spec, stage.overhead_s, requests, pool.complete))
            else:

                def ask_s(part: int, items: int, position: int = position) -> float:
                    return log.accelerator_s(position, part, items)

                pool = batches = BatchingPool(number, loop, spec, stage.overhead_s, requests, left, ask_s)
                batches.serve_batches_by(simulated_batches(loop, spec, stage.overhead_s, requests, pool.complete))
            found[-1][kind] = pool
    return found


def _leaving(leave: Callable[[int, int], None], position: int) -> Callable[[int], None]:
    return lambda part: leave(position, part)
