"""Predictions of the event kernel (rule 15): what a node knows before an instant's starts, put to `prediction`."""

from __future__ import annotations

import math

from deeprec_env.jit import compiled
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.simulation.arrays import ACCELERATOR, CPU, NodeArrays, NodeState
from deeprec_env.simulation.event_queue import LEAST_SLACK, SMALL_FIRST, ahead, is_accelerator, mean_work_s
from deeprec_env.simulation.event_state import EventState
from deeprec_env.simulation.prediction import free_in_s, latest_end_s, whole_ns
from deeprec_env.simulation.splitting import Cut, DispatchRule, cut, offloads, request_items, rule_at


@compiled
def slack_s(node: NodeArrays, plan: int, pool: int, parts: Cut, arrival_s: float) -> float:
    """When a sub-batch should begin at a pool to end in time: its deadline less the mean service of its first request.

    Without slow-down and overhead.
    """
    return float((arrival_s + node.sla_s) - node.mean_s[plan, pool, request_items(parts, 0)])


@compiled
def pool_forecast_s(
    node: NodeArrays,
    state: NodeState,
    events: EventState,
    now_s: float,
    pool: int,
    order: int,
    rule: DispatchRule,
    plan: int,
    arrival_s: float,
    items: int,
    part: int,
) -> float:
    """In how many seconds a query of `items` items at the stage is predicted to leave it by a pool.

    `part` is its number, which ties go by.
    """
    parts = cut(rule, items, is_accelerator(pool))
    own = math.inf
    if order == SMALL_FIRST:
        own = float(items)
    elif order == LEAST_SLACK:
        own = slack_s(node, plan, pool, parts, arrival_s)
    work_ns, waiting_items = ahead(node, state, events, pool, order, own, part)
    busy, servers, most = max(1, events.busy[pool]), node.servers[pool], node.batch_items[pool]
    free_s = free_in_s(now_s, events.started_s[pool, :servers], events.expected_s[pool, :servers])
    if most > 0:
        whole = (waiting_items + items - 1) // most
        rest_s = mean_work_s(node, plan, pool, waiting_items + items - whole * most, busy)
        return latest_end_s(free_s, whole_ns(mean_work_s(node, plan, pool, most, busy), whole), 1, rest_s, 0, 0.0)
    large_s = mean_work_s(node, plan, pool, parts.large_items, busy)
    small_s = mean_work_s(node, plan, pool, parts.small_items, busy)
    return latest_end_s(free_s, work_ns, parts.large, large_s, parts.requests - parts.large, small_s)


@compiled
def stage_forecast_s(
    node: NodeArrays,
    state: NodeState,
    events: EventState,
    now_s: float,
    stage: int,
    order: int,
    setting: SettingNumbers,
    arrival_s: float,
    items: int,
    part: int,
) -> tuple[bool, float]:
    """Whether a query goes to a stage's accelerator, and in how many seconds it is predicted to leave the stage."""
    rule, plan = rule_at(node, stage, setting), int(setting.plan)
    if rule.predicted:
        cpu_s = pool_forecast_s(node, state, events, now_s, 2 * stage + CPU, order, rule, plan, arrival_s, items, part)
        other_s = pool_forecast_s(
            node, state, events, now_s, 2 * stage + ACCELERATOR, order, rule, plan, arrival_s, items, part
        )
        return other_s < cpu_s, min(cpu_s, other_s)
    away = offloads(rule, items)
    pool = 2 * stage + (ACCELERATOR if away else CPU)
    return away, pool_forecast_s(node, state, events, now_s, pool, order, rule, plan, arrival_s, items, part)


@compiled
def query_forecast_s(
    node: NodeArrays,
    state: NodeState,
    events: EventState,
    now_s: float,
    order: int,
    setting: SettingNumbers,
    items: int,
    part: int,
) -> float:
    """The predicted latency of a query that arrives now (rule 16): the sum over the stages, as they are now."""
    total_s = 0.0
    plan = int(setting.plan)
    for stage in range(len(node.overhead_s)):
        entering = min(items, node.entering[plan, stage])
        if entering > 0:
            _, leaves_s = stage_forecast_s(node, state, events, now_s, stage, order, setting, now_s, entering, part)
            total_s += node.transfer_s[stage] + leaves_s
    return total_s
