"""The highest rate that a node could carry at all: from mean work alone, where its state decides who goes where.

Whatever the rule, each query's mean work ends up on one of a stage's pools. Let a second on the CPU weigh w and one on
the accelerator 1 - w: a query of c seconds there and a seconds here then weighs at least min(w c, (1 - w) a), and in a
second the pools do no more than w S_c + (1 - w) S_a, of so many servers. So the rate is at most the ratio of the two,
for every w; the least of these bounds is that of the best division (the dual of its linear program).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import Stage
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.offered_load import busy_seconds, split_seconds
from deeprec_env.simulation.splitting import DispatchRule, offloads, stage_rule
from deeprec_env.workload.checked import size_probabilities

_WEIGHTS = 200  # tried at most: each gives a bound


def most_qps(scenario: Scenario, shed: float = 0.0) -> float:
    """No rate above it is stable under the scenario's setting, if no more than the share `shed` of queries is shed.

    Contention counts as when all servers of a pool are busy, as in `ServiceDemand`, slow phases with the least that
    they can. Infinite if queries bring no work.
    """
    sizes, probability = size_probabilities(scenario.workload.sizes)
    found = np.inf
    for position, stage in enumerate(scenario.planned_stages[scenario.setting.plan]):
        rule = stage_rule(scenario, position, scenario.setting)
        items = np.minimum(sizes, rule.most_items)
        for servers, least_s in _bounds(stage, rule, items):
            work_s = _kept_s(probability, np.where(items > 0, least_s, 0.0), shed)
            found = min(found, servers / work_s if work_s > 0.0 else np.inf)
    return float(found)


def _bounds(stage: Stage, rule: DispatchRule, items: Ints) -> Iterator[tuple[float, Floats]]:
    """Weighted servers, and the least weighted seconds of queries by their items; one pair for every weight."""
    cpu_s, accelerator_s = _seconds(stage, rule, items)
    cpu = 0 if stage.cpu is None else stage.cpu.servers
    accelerator = 0 if stage.accelerator is None else stage.accelerator.servers
    if not rule.predicted:
        away = offloads(rule, items)
        yield float(cpu), np.where(away, 0.0, cpu_s)
        yield float(accelerator), np.where(away, accelerator_s, 0.0)
        return
    # Between two of these weights a bound is a ratio of linear functions: the least is at one of them.
    weights = np.unique(accelerator_s[items > 0] / (cpu_s + accelerator_s)[items > 0])
    for weight in weights[:: max(1, len(weights) // _WEIGHTS)]:
        servers = weight * cpu + (1.0 - weight) * accelerator
        yield float(servers), np.minimum(weight * cpu_s, (1.0 - weight) * accelerator_s)


def _seconds(stage: Stage, rule: DispatchRule, items: Ints) -> tuple[Floats, Floats]:
    """Mean server-seconds of queries on the CPU and on the accelerator, at its least where it takes them in batches."""
    cpu_s: Floats = np.zeros(len(items))
    accelerator_s = cpu_s
    if stage.cpu is not None:
        cpu_s = split_seconds(stage, stage.cpu, items, rule.largest, rule.even, least=True)
    if stage.accelerator is not None:
        accelerator_s = busy_seconds(stage, stage.accelerator, np.maximum(items, 1), least=True)
        if stage.batching is not None:
            batch = np.arange(1, stage.batching.max_items + 1)
            each_s = float((busy_seconds(stage, stage.accelerator, batch, least=True) / batch).min())
            accelerator_s = items.astype(np.float64) * each_s
    return cpu_s, accelerator_s


def _kept_s(probability: Floats, work_s: Floats, shed: float) -> float:
    """Mean of what is left of the work if the share `shed` of all queries, those with most, are shed."""
    order = np.argsort(-work_s, kind="stable")
    left = np.clip(np.cumsum(probability[order]) - shed, 0.0, probability[order])
    return float(left @ work_s[order])
