"""Rules 10, 11 and 16 in plain Python: the window that `NodeOracle` shows at its end."""

from __future__ import annotations

import math

import numpy as np

from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.mean_tables import median_items
from deeprec_env.simulation.windows import Window
from tests.simulation.node_oracle import NodeOracle, Query


def run_window(node: NodeOracle, setting: Setting, begin_s: float, end_s: float) -> Window:
    """Run from `begin_s` to `end_s` under a setting; what happens at the end is still to come."""
    node.control(setting)
    node.advance(end_s)
    scenario, length_s = node.scenario, end_s - begin_s
    arrived = [query for query in node.queries if query.arrival_s >= begin_s]
    completed = [query for query in node.queries if begin_s <= query.completion_s < end_s]
    in_flight = [query for query in node.queries if query.completion_s >= end_s]
    shed = sum(query.shed for query in arrived)
    times = [(query, query.completion_s - query.arrival_s) for query in completed]
    ages = [(query, end_s - query.arrival_s) for query in in_flight]
    sample = times + [(query, age_s) for query, age_s in ages if age_s > scenario.sla_s]
    late = sum(time_s > scenario.sla_s for _, time_s in sample)
    p50_s, p95_s, p99_s = (
        np.quantile([time_s for _, time_s in sample], (0.5, 0.95, 0.99)).tolist() if sample else [0.0] * 3
    )
    stages, most_busy, energy_j = list[tuple[float, float, float]](), {"cpu": 0.0, "accelerator": 0.0}, 0.0
    for position, stage in enumerate(scenario.stages):
        shares = {"cpu": 0.0, "accelerator": 0.0}
        for kind, pool in stage.pools().items():
            busy_s = _busy_s(node.queries, position, kind == "accelerator", begin_s, end_s)
            shares[kind] = busy_s / (pool.servers * length_s)
            most_busy[kind] = max(most_busy[kind], shares[kind])
            energy_j += pool.idle_w * length_s + (pool.busy_w - pool.idle_w) * busy_s / pool.servers
        here = sum(_stage_of(query, end_s) == position for query in in_flight)
        stages.append((shares["cpu"], shares["accelerator"], float(here)))
    plans = []
    for plan in range(len(scenario.planned_stages)):
        of_plan = [time_s for query, time_s in sample if query.setting.plan == plan]
        plans.append((float(len(of_plan)), float(sum(time_s <= scenario.sla_s for time_s in of_plan))))
    batches = any(stage.batching is not None for stage in scenario.stages)
    further = batches or any(scenario.control.uses(control) for control in ("order", "offload", "admit_ms"))
    waiting = {"cpu": 0, "accelerator": 0}
    for (_, kind), queue in node.pools.items():
        waiting[kind] += sum(len(entry.requests) for entry in queue.waiting) if further else 0
    predicted = further and scenario.sub_batches == 1
    return Window(
        begin_s=begin_s,
        end_s=end_s,
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        violation_rate=(late + shed) / (len(sample) + shed) if sample or shed else 0.0,
        sample=len(sample),
        offered_qps=len(arrived) / length_s,
        completed_qps=len(completed) / length_s,
        mean_items=sum(node.items[query.number] for query in arrived) / len(arrived) if arrived else 0.0,
        cpu_utilisation=most_busy["cpu"],
        accelerator_utilisation=most_busy["accelerator"],
        backlog=len(in_flight),
        energy_j=energy_j,
        shed_rate=shed / len(arrived) if arrived else 0.0,
        waiting_cpu=waiting["cpu"],
        waiting_accelerator=waiting["accelerator"],
        predicted_s=node.predicted_s(end_s, median_items(scenario), math.inf) if predicted else 0.0,
        stages=tuple(stages),
        plans=tuple(plans),
    )


def _busy_s(queries: list[Query], position: int, accelerator: bool, begin_s: float, end_s: float) -> float:
    """Server-seconds within the window, added in (query, part) order, a batch's once."""
    busy_s = 0.0
    for query in queries:
        visit = query.visits[position]
        for request in visit.all_requests:
            overlap_s = min(request.end_s, end_s) - max(request.start_s, begin_s)
            if visit.accelerator == accelerator and request.carries and overlap_s > 0.0:
                busy_s += overlap_s
    return busy_s


def _stage_of(query: Query, now_s: float) -> int:
    """The first stage that a query in flight is not through with."""
    for position, visit in enumerate(query.visits):
        requests = visit.all_requests
        if query.items[position] > 0 and (not requests or any(request.end_s >= now_s for request in requests)):
            return position
    raise AssertionError("is not in flight")
