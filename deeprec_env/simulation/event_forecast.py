"""Predictions of the event kernel (rule 15): what a node knows before an instant's starts, put to `prediction`.

Arrays as in `event_queue`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.simulation.arrays import ACCELERATOR, CPU
from deeprec_env.simulation.event_queue import LEAST_SLACK, SMALL_FIRST, ahead, mean_work_s
from deeprec_env.simulation.prediction import free_in_s, latest_end_s, whole_ns
from deeprec_env.simulation.splitting import Cut, DispatchRule, cut, offloads, request_items, rule_of


@compiled
def begin_by_s(plan: int, pool: int, parts: Cut, arrival_s: float, sla_s: float, mean_s: Floats) -> float:
    """When a sub-batch should begin at a pool to end in time: its deadline less the mean service of its first request.

    Without slow-down and overhead.
    """
    return float((arrival_s + sla_s) - mean_s[plan, pool, request_items(parts, 0)])


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
    servers: Ints,
    batch_items: Ints,
    contended: NDArray[np.bool_],
    mean_s: Floats,
    slowdown: Floats,
    overhead_s: Floats,
    busy: Ints,
    started_s: Floats,
    expected_s: Floats,
    waiting_ns: Ints,
    queue: Ints,
    head: Ints,
    tail: Ints,
    requests: Ints,
    large: Ints,
    large_items: Ints,
    small_items: Ints,
    started: Ints,
    turn: Ints,
    size: Ints,
    slack_s: Floats,
) -> float:
    """In how many seconds a query of `items` items at the stage is predicted to leave it by a pool.

    `part` is its number, which ties go by.
    """
    parts = cut(rule, items, pool % 2 == ACCELERATOR)
    own = math.inf
    if order == SMALL_FIRST:
        own = float(items)
    elif order == LEAST_SLACK:
        own = begin_by_s(plan, pool, parts, arrival_s, sla_s, mean_s)
    work_ns, waiting_items = ahead(
        pool, order, own, part, each, setting, batch_items, contended, mean_s, slowdown, overhead_s, busy, waiting_ns,
        queue, head, tail, requests, large, large_items, small_items, started, turn, size, slack_s,
    )  # fmt: skip
    at_work, most = max(1, busy[pool]), batch_items[pool]
    if most == 0 and work_ns == 0 and parts.requests <= servers[pool] - busy[pool]:  # each begins at once
        small_s = mean_work_s(plan, pool, parts.small_items, at_work, mean_s, slowdown, overhead_s)
        if parts.large == 0:
            return small_s
        return max(mean_work_s(plan, pool, parts.large_items, at_work, mean_s, slowdown, overhead_s), small_s)
    free_s = free_in_s(now_s, started_s[pool, : servers[pool]], expected_s[pool, : servers[pool]])
    if most > 0:
        whole = (waiting_items + items - 1) // most
        rest = waiting_items + items - whole * most
        whole_s = mean_work_s(plan, pool, most, at_work, mean_s, slowdown, overhead_s)
        rest_s = mean_work_s(plan, pool, rest, at_work, mean_s, slowdown, overhead_s)
        return latest_end_s(free_s, whole_ns(whole_s, whole), 1, rest_s, 0, 0.0)
    large_s = mean_work_s(plan, pool, parts.large_items, at_work, mean_s, slowdown, overhead_s)
    small_s = mean_work_s(plan, pool, parts.small_items, at_work, mean_s, slowdown, overhead_s)
    return latest_end_s(free_s, work_ns, parts.large, large_s, parts.requests - parts.large, small_s)


@compiled
def stage_forecast_s(
    now_s: float,
    stage: int,
    order: int,
    in_force: SettingNumbers,
    arrival_s: float,
    items: int,
    part: int,
    sla_s: float,
    each: int,
    entering: Ints,
    fewest: Ints,
    whole: NDArray[np.bool_],
    setting: Floats,
    servers: Ints,
    batch_items: Ints,
    contended: NDArray[np.bool_],
    mean_s: Floats,
    slowdown: Floats,
    overhead_s: Floats,
    busy: Ints,
    started_s: Floats,
    expected_s: Floats,
    waiting_ns: Ints,
    queue: Ints,
    head: Ints,
    tail: Ints,
    requests: Ints,
    large: Ints,
    large_items: Ints,
    small_items: Ints,
    started: Ints,
    turn: Ints,
    size: Ints,
    slack_s: Floats,
) -> tuple[bool, float]:
    """Whether a query goes to a stage's accelerator, and in how many seconds it is predicted to leave the stage."""
    rule, plan = rule_of(entering, fewest, whole, servers, each, stage, in_force), int(in_force.plan)
    sent = bool(offloads(rule, items))
    away, least_s = sent, math.inf
    for kind in (CPU, ACCELERATOR):
        if rule.predicted or sent == (kind == ACCELERATOR):
            leaves_s = pool_forecast_s(
                now_s, 2 * stage + kind, order, rule, plan, arrival_s, items, part, sla_s, each, setting, servers,
                batch_items, contended, mean_s, slowdown, overhead_s, busy, started_s, expected_s, waiting_ns,
                queue, head, tail, requests, large, large_items, small_items, started, turn, size, slack_s,
            )  # fmt: skip
            if leaves_s < least_s:
                away, least_s = kind == ACCELERATOR, leaves_s
    return away, least_s
