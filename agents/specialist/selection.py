"""Which network of a training is kept: by validation days, and by what it still carries near capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deeprec_env.envs.spec import EnvSpec
from deeprec_env.policies.base import Policy, TunedPolicy
from deeprec_env.policies.evaluation.day_metrics import DayMetrics, day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.policy_capacity import RateMeter, capacity_queries
from deeprec_env.scenario.schema import Scenario

LOADS = (0.93, 0.98, 0.995)
"""Stationary loads that are probed, in capacity."""

FIRST_SEED = 1000
"""Of the validation days, and of the probes' traffic: beside those that tables were found on."""

VIOLATIONS = 30.0
"""What a share of late queries above the teacher's counts, as a factor on the day metric."""


@dataclass(frozen=True)
class Judged:
    """A policy on validation traffic. `excess` is 1 where every probed load is held, and grows with what is missed."""

    p95_hourly_s: float
    violation_rate: float
    excess: float

    def score(self, tolerated: float) -> float:
        """Lower is better: the day metric, dearer for violations above those tolerated and for loads not held."""
        late = 1.0 + VIOLATIONS * max(0.0, self.violation_rate - tolerated)
        return self.p95_hourly_s * late * self.excess

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return {
            "p95_hourly_ms": self.p95_hourly_s * 1e3,
            "violation_rate": self.violation_rate,
            "excess": self.excess,
        }


class Judge:
    """Judges policies of a scenario on the same validation days and probes."""

    def __init__(self, spec: EnvSpec, scenario: Scenario, days: int = 8, probes: int = 1) -> None:
        self._scenario, self._days, self._probes = scenario, days, probes
        self._env, self._make = spec.make(scenario), spec.make

    def judged(self, policy: Policy) -> Judged:
        """A policy's figures."""
        days = [self._day(policy, FIRST_SEED + day) for day in range(self._days)]
        return Judged(
            geometric_mean([day.p95_hourly_s for day in days]),
            sum(day.violation_rate for day in days) / len(days),
            self._excess(policy),
        )

    def _day(self, policy: Policy, seed: int) -> DayMetrics:
        return day_metrics(run_policy(self._env, policy, seed, "validation"), self._scenario)

    def _excess(self, policy: Policy) -> float:
        scenario, product = self._scenario, 1.0
        assert scenario.capacity is not None
        prepared = TunedPolicy(policy, scenario, None)
        for seed in range(FIRST_SEED, FIRST_SEED + self._probes):
            meter = RateMeter(
                prepared, seed=seed, queries=capacity_queries(scenario, 20_000), split="validation", make=self._make
            )
            for load in LOADS:
                probe = meter.probe(load * scenario.capacity.qps)
                product *= max(1.0, probe.p95_s / scenario.sla_s) * max(1.0, probe.load)
                if scenario.p99_factor is not None:
                    product *= max(1.0, probe.p99_s / (scenario.p99_factor * scenario.sla_s))
        return product
