"""Which network of a training is kept: by validation days, and by what it still carries near capacity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

from deeprec_env.analysis.day import with_flash
from deeprec_env.envs.node_env import NodeEnv
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.policies.base import Policy, TunedPolicy
from deeprec_env.policies.evaluation.day_metrics import DayMetrics, day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.policy_capacity import RateMeter, capacity_queries
from deeprec_env.scenario.schema import Scenario

_MOST = 100.0  # of an excess: what is refused counts as late for ever

LOADS = (0.93, 0.98, 0.995)
"""Stationary loads that are probed, in capacity."""

PROBES = 3
"""Streams that each is probed on: one alone says too little of what is held on others."""

FIRST_SEED = 1000
"""Of the validation days, and of the probes' traffic: beside those that tables were found on."""

VIOLATIONS = 30.0
"""What a share of late queries above the teacher's counts, as a factor on the day metric; under flash crowds too."""

SHED = 0.0005
"""Share of queries that may be refused beyond those that the teacher refuses."""


@dataclass(frozen=True)
class Judged:
    """A policy on validation traffic. `excess` is 1 where every probed load is held, and grows with what is missed."""

    p95_hourly_s: float
    violation_rate: float
    shed_rate: float
    excess: float
    crowds_violation_rate: float = 0.0

    def score(self, measure: Judged, in_crowds: float = 1.0) -> float:
        """Lower is better: the day metric, dearer for loads that are not held and for more violations than a table has.

        `in_crowds` is the share of late queries under flash crowds that is tolerated.
        """
        more = (
            VIOLATIONS * max(0.0, self.violation_rate - measure.violation_rate),
            VIOLATIONS * max(0.0, self.shed_rate - measure.shed_rate - SHED),
            VIOLATIONS * max(0.0, self.crowds_violation_rate - in_crowds),
        )
        return self.p95_hourly_s * (1.0 + sum(more)) * self.excess

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return {
            "p95_hourly_ms": self.p95_hourly_s * 1e3,
            "violation_rate": self.violation_rate,
            "shed_rate": self.shed_rate,
            "excess": self.excess,
            "crowds_violation_rate": self.crowds_violation_rate,
        }


class Judge:
    """Judges policies of a scenario on the same validation days and probes."""

    def __init__(self, spec: EnvSpec, scenario: Scenario, days: int = 8, *, crowds: bool = False) -> None:
        """`crowds`: on days with flash crowds as well."""
        self._scenario, self._days, self._make = scenario, days, spec.make
        self._env = spec.make(scenario)
        self._crowds = spec.make(with_flash(scenario)) if crowds else None

    def judged(self, policy: Policy) -> Judged:
        """A policy's figures."""
        days = self._days_in(self._env, policy)
        return Judged(
            geometric_mean([day.p95_hourly_s for day in days]),
            sum(day.violation_rate for day in days) / len(days),
            sum(day.shed_rate for day in days) / len(days),
            self._excess(policy),
            self.late_in_crowds(policy),
        )

    def late_in_crowds(self, policy: Policy) -> float:
        """Share of queries late or refused on days with flash crowds; 0 where these are not judged."""
        if self._crowds is None:
            return 0.0
        return sum(day.violation_rate for day in self._days_in(self._crowds, policy)) / self._days

    def _days_in(self, env: NodeEnv, policy: Policy) -> list[DayMetrics]:
        seeds = range(FIRST_SEED, FIRST_SEED + self._days)
        return [day_metrics(run_policy(env, policy, seed, "validation"), self._scenario) for seed in seeds]

    def _excess(self, policy: Policy) -> float:
        scenario, excess = self._scenario, 1.0
        assert scenario.capacity is not None
        queries = capacity_queries(scenario, 20_000)
        prepared = TunedPolicy(policy, scenario, None)
        meters = [
            RateMeter(prepared, seed=FIRST_SEED + number, queries=queries, split="validation", make=self._make)
            for number in range(PROBES)
        ]
        for load, meter in product(LOADS, meters):
            probe = meter.probe(load * scenario.capacity.qps)
            late = [probe.p95_s / scenario.sla_s, probe.load]
            if scenario.p99_factor is not None:
                late.append(probe.p99_s / (scenario.p99_factor * scenario.sla_s))
            excess *= math.prod(min(max(1.0, each), _MOST) for each in late)
        return float(excess ** (1.0 / PROBES))
