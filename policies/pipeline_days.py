"""Days of `DeepRec/Pipeline-v0`: what a policy or a fixed setting makes of the traffic of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeprec_env.envs.pipeline_day import best_quality, largest_qps, rated_plans
from deeprec_env.scenario.numbers import Threshold
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.stream import QueryStream, episode_seed
from policies.day import day_length_s

PlanSetting = tuple[int, Threshold, int]
"""Batch size, offload threshold and the index of the plan."""

WORTHWHILE = 1.01
"""Factor in what it keeps up with by which a worse plan must pass all better ones to be worth a thought."""


@dataclass(frozen=True)
class PipelineDay:
    """One day under one policy, over all queries that arrived in it, drained. Times in seconds.

    `goodput` is the sum of the qualities of the plans of the queries within the target / (all queries x the best plan's
    quality); `quality` is the mean quality of all queries' plans, as the plans say it.
    """

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


class PipelineDays:
    """Fixed settings on the same few days; counts the queries it takes and remembers the results."""

    def __init__(self, scenario: Scenario, *, seeds: Sequence[int], split: str, engine: str) -> None:
        self._scenario, self._engine = scenario, engine
        self._traffic = [
            QueryStream(scenario.workload, episode_seed(seed, split)).draw_until(day_length_s(scenario))
            for seed in seeds
        ]
        self._known: dict[PlanSetting, list[PipelineDay]] = {}
        self.queries_used = 0

    def __len__(self) -> int:
        return len(self._traffic)

    def fixed(self, setting: PlanSetting, count: int | None = None) -> list[PipelineDay]:
        """The first `count` days (None: all) under one setting."""
        scenario, days = self._scenario.with_settings(*setting), self._known.setdefault(setting, [])
        for traffic in self._traffic[len(days) : count]:
            days.append(pipeline_day(run(scenario, traffic, engine=self._engine), scenario))
            self.queries_used += days[-1].queries
        return days[:count]


def front(scenario: Scenario) -> list[int]:
    """The plans worth choosing from, best first: each keeps up with more traffic than all plans of higher quality."""
    plans = rated_plans(scenario)
    largest = [largest_qps(scenario, index) for index in range(len(plans))]
    found: list[int] = []
    for index in sorted(range(len(plans)), key=lambda index: (-(plans[index].quality or 0.0), -largest[index])):
        if not found or largest[index] > WORTHWHILE * largest[found[-1]]:
            found.append(index)
    return found


def action_of(scenario: Scenario, setting: PlanSetting) -> tuple[int, int, int]:
    """A setting of the ladders as the action that chooses it."""
    batch_size, threshold, plan = setting
    return plan, scenario.control.batch_sizes.index(batch_size), scenario.thresholds.index(threshold)
