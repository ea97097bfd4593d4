"""A node's pools in virtual time: the queue that each scenario needs, before its simulated servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deeprec_env.scenario.pools import KINDS, PoolKind, PoolSpec
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.batching_pool import BatchingPool
from deeprec_env.simulation.loop import VirtualTimeLoop
from deeprec_env.simulation.ordered_pool import OrderedPool
from deeprec_env.simulation.pool import Pool
from deeprec_env.simulation.query_log import QueryLog
from deeprec_env.simulation.simulated_servers import simulated_batches, simulated_servers

if TYPE_CHECKING:
    from deeprec_env.simulation.slow_phases import SlowPhases


def fcfs_pools(
    scenario: Scenario, loop: VirtualTimeLoop, log: QueryLog, leave: Callable[[int, int], None], slow_key: int
) -> list[dict[PoolKind, Pool]]:
    """By stage the pools of a node that is `decided_on_entry`; `leave(stage, part)` is called when a part is done.

    `slow_key` is that of the slow phases.
    """
    found: list[dict[PoolKind, Pool]] = []
    for position, (stage, requests) in enumerate(zip(scenario.stages, log.stages, strict=True)):
        found.append({})
        for kind, spec in stage.pools().items():
            number = 2 * position + KINDS.index(kind)
            pool = found[-1][kind] = Pool(number, loop, spec.servers, requests, _leaving(leave, position))
            phases = _phases(spec, number, slow_key)
            pool.serve_by(simulated_servers(loop, spec, stage.overhead_s, requests, pool.complete, phases))
    return found


def ordered_pools(
    scenario: Scenario, loop: VirtualTimeLoop, log: QueryLog, leave: Callable[[int, int], None], slow_key: int
) -> list[dict[PoolKind, OrderedPool]]:
    """As `fcfs_pools`, of any other node."""
    found: list[dict[PoolKind, OrderedPool]] = []
    for position, (stage, requests) in enumerate(zip(scenario.stages, log.stages, strict=True)):
        found.append({})
        for kind, spec in stage.pools().items():
            number, left = 2 * position + KINDS.index(kind), _leaving(leave, position)
            pool = OrderedPool(number, loop, spec, stage.overhead_s, requests, left)
            phases = _phases(spec, number, slow_key)
            if spec.batching is None:
                pool.serve_by(simulated_servers(loop, spec, stage.overhead_s, requests, pool.complete, phases))
            else:

                def ask_s(part: int, items: int, position: int = position) -> float:
                    return log.accelerator_s(position, part, items)

                pool = batches = BatchingPool(number, loop, spec, stage.overhead_s, requests, left, ask_s)
                serve = simulated_batches(loop, spec, stage.overhead_s, requests, pool.complete, phases)
                batches.serve_batches_by(serve)
            found[-1][kind] = pool
    return found


def _phases(spec: PoolSpec, number: int, slow_key: int) -> SlowPhases | None:
    if spec.slowness is None:
        return None
    from deeprec_env.simulation.slow_phases import SlowPhases  # Numba is loaded for nodes that have them

    return SlowPhases(spec, number, slow_key)


def _leaving(leave: Callable[[int, int], None], position: int) -> Callable[[int], None]:
    return lambda part: leave(position, part)
