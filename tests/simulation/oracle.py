"""An independent statement of the queueing rules: the FCFS recursion, stage by stage, in plain Python.

Each pool keeps the times at which its servers come free; a request starts at the later of its entry and the earliest of
them. Nothing is shared with the engine but the latency models and the noise.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from deeprec_env.scenario import Scenario, Stage, Threshold
from deeprec_env.workload import Traffic
from deeprec_env.workload.noise import query_keys, uniforms


@dataclass
class OracleStage:
    offloaded: list[bool]
    start_s: list[list[float]]
    end_s: list[list[float]]


def oracle(scenario: Scenario, traffic: Traffic, settings: list[tuple[int, Threshold]]) -> list[OracleStage]:
    """Start and end of every request of every query at every stage; `settings[i]` is in force at query i's arrival."""
    entry = traffic.arrival_s.tolist()
    items = traffic.items.tolist()
    stages = []
    for position, stage in enumerate(scenario.stages):
        entry = [time + stage.transfer_s for time in entry]
        log = _stage(stage, position, traffic.noise_key, entry, items, settings)
        stages.append(log)
        entry = [max(ends) for ends in log.end_s]
        if stage.keep is not None:
            items = [min(stage.keep, n) for n in items]
    return stages


def _stage(
    stage: Stage,
    position: int,
    noise_key: int,
    entry: list[float],
    items: list[int],
    settings: list[tuple[int, Threshold]],
) -> OracleStage:
    count = len(entry)
    log = OracleStage([False] * count, [[] for _ in range(count)], [[] for _ in range(count)])
    free = {kind: [-math.inf] * pool.servers for kind, pool in stage.pools().items()}
    for query in sorted(range(count), key=lambda query: (entry[query], query)):
        batch_size, threshold = settings[query]
        offload = stage.accelerator is not None and threshold is not None and items[query] >= threshold
        log.offloaded[query] = offload
        kind = "accelerator" if offload else "cpu"
        pool, servers = stage.pools()[kind], free[kind]
        left, part = items[query], 0
        while left > 0:
            n = left if offload else min(batch_size, left)
            u = uniforms(query_keys(noise_key, position, np.array([query])), np.array([part]))
            base = float(pool.latency.base_s(np.array([n]), u)[0])
            start = max(entry[query], servers[0])
            busy = 1 + sum(end > start for end in servers)
            share = busy / (pool.contention.servers or pool.servers)
            c0, c1, c2 = pool.contention.c
            end = start + (base * (c0 + c1 * share + c2 * share * share) + stage.overhead_s)
            heapq.heapreplace(servers, end)
            log.start_s[query].append(start)
            log.end_s[query].append(end)
            left, part = left - n, part + 1
    return log
