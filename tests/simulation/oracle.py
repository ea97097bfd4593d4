"""An independent statement of the queueing rules: the FCFS recursion, stage by stage, in plain Python.

Each pool keeps the times at which its servers come free; a request starts at the later of its entry and the earliest of
them. Nothing is shared with the engine but the latency models and the noise; slow phases are those of the other oracle.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from deeprec_env.scenario import Scenario, Stage
from deeprec_env.scenario.parts import LatencyModel
from deeprec_env.workload import Traffic
from deeprec_env.workload.noise import query_keys, uniforms
from tests.simulation.random_scenarios import Setting


@dataclass
class OracleStage:
    offloaded: list[bool]
    start_s: list[list[float]]
    end_s: list[list[float]]


def items_by_stage(scenario: Scenario, items: int, plan: int) -> list[int]:
    """The items of a query at each stage, 0 where its plan skips it."""
    found, left = [], items
    for position, stage in enumerate(scenario.stages):
        if scenario.plans:
            most = scenario.plans[plan].items[position]
            left = min(left, most) if most > 0 else left
            found.append(left if most > 0 else 0)
        else:
            found.append(left)
            left = left if stage.keep is None else min(stage.keep, left)
    return found


def oracle(scenario: Scenario, traffic: Traffic, settings: list[Setting]) -> tuple[list[OracleStage], list[float]]:
    """Start and end of every request of every query at every stage, and when each completes.

    `settings[i]` is in force at query i's arrival.
    """
    items = [items_by_stage(scenario, n, each.plan) for n, each in zip(traffic.items, settings, strict=True)]
    parts = [min(scenario.sub_batches, *(n for n in of_query if n > 0)) for of_query in items]
    left = [[time] * count for time, count in zip(traffic.arrival_s.tolist(), parts, strict=True)]
    stages = []
    for position in range(len(scenario.stages)):
        log, left = _stage(scenario, position, traffic, left, [n[position] for n in items], settings)
        stages.append(log)
    return stages, [max(of_query) for of_query in left]


def _stage(
    scenario: Scenario,
    position: int,
    traffic: Traffic,
    entry: list[list[float]],
    items: list[int],
    settings: list[Setting],
) -> tuple[OracleStage, list[list[float]]]:
    """The stage's log, and when each sub-batch of each query leaves it, having come at `entry`."""
    from tests.simulation.node_oracle import NodeOracle, Pool  # which splits queries as this one does

    stage, count, phases = scenario.stages[position], len(entry), NodeOracle(scenario, traffic)
    log = OracleStage([False] * count, [[] for _ in range(count)], [[] for _ in range(count)])
    left = [list(of_query) for of_query in entry]
    free = {kind: [-math.inf] * pool.servers for kind, pool in stage.pools().items()}
    due = [
        (time + stage.transfer_s, query, sub_batch)
        for query, of_query in enumerate(entry)
        for sub_batch, time in enumerate(of_query)
        if items[query] > 0
    ]
    started: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for entered, query, sub_batch in sorted(due):
        batch_size, threshold, plan = settings[query].batch_size, settings[query].threshold, settings[query].plan
        # The items dealt out one by one, as cards are.
        shares = [len(range(place, items[query], len(entry[query]))) for place in range(len(entry[query]))]
        offload = stage.accelerator is not None and threshold is not None and items[query] >= threshold
        offload = offload or stage.cpu is None
        log.offloaded[query] = offload
        kind = "accelerator" if offload else "cpu"
        pool, servers = stage.pools()[kind], free[kind]
        most = max(shares) if offload or stage.whole else batch_size
        left_over, part = shares[sub_batch], sum(math.ceil(n / most) for n in shares[:sub_batch])
        times = started.setdefault((query, sub_batch), [])
        while left_over > 0:
            n = min(most, left_over)
            u = uniforms(query_keys(traffic.noise_key, position, np.array([query])), np.array([part]))
            base = float(_latency(scenario, stage, kind, plan).base_s(np.array([n]), u)[0])
            start = max(entered, servers[0])
            busy = 1 + sum(end > start for end in servers)
            share = busy / (pool.contention.servers or pool.servers)
            c0, c1, c2 = pool.contention.c
            slow = pool.slowness is not None and phases._is_slow(start, Pool(position, kind), pool.slowness)
            factor = pool.slowness.factor if slow and pool.slowness else 1.0
            end = start + (base * (c0 + c1 * share + c2 * share * share) * factor + stage.overhead_s)
            heapq.heapreplace(servers, end)
            times.append((start, end))
            left_over, part = left_over - n, part + 1
        left[query][sub_batch] = max(end for _, end in times)
    for (query, _), times in sorted(started.items()):
        log.start_s[query] += [start for start, _ in times]
        log.end_s[query] += [end for _, end in times]
    return log, left


def _latency(scenario: Scenario, stage: Stage, kind: str, plan: int) -> LatencyModel:
    of_plan = scenario.plans[plan].latency.get(stage.name, {}) if scenario.plans else {}
    return of_plan.get(kind, stage.pools()[kind].latency)
