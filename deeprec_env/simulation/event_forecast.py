"""Predictions of the event kernel (rule 15): what a node knows before an instant's starts, put to `prediction`.

Arrays as in `event_queue`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import ACCELERATOR, CPU
from deeprec_env.simulation.event_queue import FCFS, LEAST_SLACK, SMALL_FIRST, Parts, Pools, ahead, mean_work_s
from deeprec_env.simulation.prediction import free_in_s, latest_end_s, whole_ns
from deeprec_env.simulation.splitting import Cut, DispatchRule, cut, offloads, request_items


@compiled
def begin_by_s(plan: int, pool: int, requests: Cut, arrival_s: float, sla_s: float, mean_s: Floats) -> float:
    """When a sub-batch should begin at a pool to end in time: its deadline less the mean service of its first request.

    Without slow-down and overhead.
    """
    return float((arrival_s + sla_s) - mean_s[plan, pool, request_items(requests, 0)])


@compiled
def pool_forecast_s(
    now_s: float,
    pool: int,
    order: int,
    rule: DispatchRule,
    plan: int,
    arrival_s: float,
    items: int,
    part: int,
    sla_s: float,
    each: int,
    setting: Floats,
    servers: int,
    most: int,
    contended: bool,
    mean_s: Floats,
    slowdown: Floats,
    overhead_s: float,
    pools: Pools,
    started_s: Floats,
    expected_s: Floats,
    queue: Ints,
    parts: Parts,
) -> float:
    """In how many seconds a query of `items` items at the stage is predicted to leave it by a pool.

    `part` is its number, which ties go by; `most` the items of a batch, 0 without batching.
    """
    own = cut(rule, items, pool % 2 == ACCELERATOR)
    work_ns: int = pools[pool].waiting_ns
    waiting_items = 0
    if order != FCFS or contended or most > 0:
        place = math.inf
        if order == SMALL_FIRST:
            place = float(items)
        elif order == LEAST_SLACK:
            place = begin_by_s(plan, pool, own, arrival_s, sla_s, mean_s)
        work_ns, waiting_items = ahead(
            pools, queue, pool, order, place, part, parts, each, setting, most > 0, mean_s, slowdown, overhead_s
        )
    busy = max(1, pools[pool].busy)
    if most > 0:
        whole = (waiting_items + items - 1) // most
        rest = waiting_items + items - whole * most
        work_ns = whole_ns(mean_work_s(plan, pool, most, busy, mean_s, slowdown, overhead_s), whole)
        large, large_s, small = 1, mean_work_s(plan, pool, rest, busy, mean_s, slowdown, overhead_s), 0
        small_s = large_s
    else:
        large, small = own.large, own.requests - own.large
        large_s = mean_work_s(plan, pool, own.large_items, busy, mean_s, slowdown, overhead_s)
        small_s = mean_work_s(plan, pool, own.small_items, busy, mean_s, slowdown, overhead_s)
        if work_ns == 0 and own.requests <= servers - pools[pool].busy:  # each begins at once
            return max(large_s, small_s) if large > 0 else small_s
    free_s = free_in_s(now_s, started_s[pool, :servers], expected_s[pool, :servers])
    return latest_end_s(free_s, work_ns, large, large_s, small, small_s)


@compiled
def stage_forecast_s(
    now_s: float,
    stage: int,
    order: int,
    rule: DispatchRule,
    plan: int,
    arrival_s: float,
    items: int,
    part: int,
    sla_s: float,
    each: int,
    setting: Floats,
    servers: Ints,
    batch_items: Ints,
    contended: NDArray[np.bool_],
    mean_s: Floats,
    slowdown: Floats,
    overhead_s: float,
    pools: Pools,
    started_s: Floats,
    expected_s: Floats,
    queue: Ints,
    parts: Parts,
) -> tuple[bool, float]:
    """Whether a query goes to a stage's accelerator, and in how many seconds it is predicted to leave the stage."""
    sent = bool(offloads(rule, items))
    away, least_s = sent, math.inf
    for kind in (CPU, ACCELERATOR):
        if rule.predicted or sent == (kind == ACCELERATOR):
            pool = 2 * stage + kind
            leaves_s = pool_forecast_s(
                now_s, pool, order, rule, plan, arrival_s, items, part, sla_s, each, setting, servers[pool],
                batch_items[pool], contended[pool], mean_s, slowdown, overhead_s, pools, started_s, expected_s,
                queue, parts,
            )  # fmt: skip
            if leaves_s < least_s:
                away, least_s = kind == ACCELERATOR, leaves_s
    return away, least_s
