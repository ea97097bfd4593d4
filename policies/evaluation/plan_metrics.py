"""Days of `DeepRec/Pipeline-v0`: the figures of a day, and the plans worth choosing from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deeprec_env.envs.pipeline_day import best_quality, rated_plans, saturation_qps
from deeprec_env.policies.evaluation.paired import POSITIVE, SHARE, Scale
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.records import Records

WORTHWHILE = 1.01
"""Factor in what it keeps up with by which a worse plan must pass all better ones to be worth a thought."""


@dataclass(frozen=True)
class PipelineDay:
    """One day under one policy, over all queries that arrived in it, drained. Times in seconds.

    `goodput` is the sum of the qualities of the plans of the queries within the target / (all queries x the best plan's
    quality); `quality` is the mean quality of all queries' plans, as the plans say it.
    """

    scales: ClassVar[Mapping[str, Scale]] = {
        **dict.fromkeys(("goodput", "quality", "violation_rate"), SHARE),
        **dict.fromkeys(("p95_s", "p99_s"), POSITIVE),
    }

    goodput: float
    quality: float
    violation_rate: float
    p95_s: float
    p99_s: float
    queries: int


def pipeline_day(records: Records, scenario: Scenario) -> PipelineDay:
    """Metrics of a drained day's records."""
    assert records.plan is not None
    quality = np.array([plan.quality for plan in rated_plans(scenario)])[records.plan]
    within = records.latency_s <= scenario.sla_s
    p95_s, p99_s = np.percentile(records.latency_s, (95, 99)).tolist()
    return PipelineDay(
        goodput=float(quality[within].sum()) / (len(records) * best_quality(scenario)),
        quality=float(quality.mean()),
        violation_rate=float(1.0 - within.mean()),
        p95_s=p95_s,
        p99_s=p99_s,
        queries=len(records),
    )


def mean_goodput(days: Sequence[PipelineDay]) -> float:
    """What is sought: the goodput, averaged over days."""
    return float(np.mean([day.goodput for day in days]))


def front(scenario: Scenario) -> list[int]:
    """The plans worth choosing from, best first: each keeps up with more traffic than all plans of higher quality."""
    plans = rated_plans(scenario)
    largest = [saturation_qps(scenario, index) for index in range(len(plans))]
    found: list[int] = []
    for index in sorted(range(len(plans)), key=lambda index: (-(plans[index].quality or 0.0), -largest[index])):
        if not found or largest[index] > WORTHWHILE * largest[found[-1]]:
            found.append(index)
    return found
