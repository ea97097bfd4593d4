"""Fair comparison: every policy on the same test days, paired, with its capacity and what its tuning cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprec_env.analysis.day import with_day, with_flash
from deeprec_env.envs.serving import ServingEnv
from deeprec_env.errors import InputError
from deeprec_env.policies.base import Prepared, Progress, Watcher
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.day_metrics import DayMetrics, day_length_s, day_metrics, run_policy
from deeprec_env.policies.evaluation.paired import Estimate
from deeprec_env.policies.evaluation.policy_capacity import SPLIT, capacity_queries, policy_capacities
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.registry import check_name, policy_names, prepare
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, devices, versions
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

TRAFFICS = ("day", "flash")
"""Traffic that policies can be evaluated on."""


@dataclass(frozen=True)
class PolicyResult:
    """One policy over the test days: one entry of `days` and `capacities_qps` a seed.

    The references have no capacities: to search ahead in every window of every probed rate would cost more than all
    the rest, and no server could do what they do.
    """

    prepared: Prepared
    days: tuple[DayMetrics, ...]
    capacities_qps: tuple[float, ...] | None

    @property
    def day_metrics_s(self) -> list[float]:
        """The day metric of every day."""
        return [day.p95_hourly_s for day in self.days]

    @property
    def capacity_qps(self) -> float | None:
        """Mean over the seeds of the capacity; None for a reference."""
        return None if self.capacities_qps is None else float(np.mean(self.capacities_qps))

    def mean(self, field: str) -> float:
        """Mean over the days of a field of `DayMetrics`."""
        return self.estimate(field).value

    def estimate(self, field: str) -> paired.Estimate:
        """Mean over the days of a field of `DayMetrics`, with its interval."""
        return paired.mean([getattr(day, field) for day in self.days])


@dataclass(frozen=True)
class Evaluation:
    """Policies on the same test days."""

    scenario: Scenario
    seeds: tuple[int, ...]
    policies: dict[str, PolicyResult]

    def versus(self, name: str, other: str) -> Estimate:
        """Ratio of the day metrics (below 1: `name` is better) with its paired 95 % interval over the days."""
        found = paired.ratio(self.policies[name].day_metrics_s, self.policies[other].day_metrics_s)
        assert found is not None  # latencies are positive
        return found

    def score(self, name: str) -> Estimate | None:
        """0 for grid-day, 1 for rate-oracle; None without both of them, or with too little between them."""
        if not {"grid-day", "rate-oracle"} <= set(self.policies):
            return None
        metrics = [self.policies[policy].day_metrics_s for policy in (name, "grid-day", "rate-oracle")]
        return paired.score(*metrics)

    def capacity_ratio(self, name: str) -> Estimate | None:
        """Capacity in that of grid-capacity, paired; None without it, for a reference, or where either is 0."""
        base = self.policies.get("grid-capacity")
        capacities = self.policies[name].capacities_qps
        if base is None or base.capacities_qps is None or capacities is None:
            return None
        return paired.ratio(capacities, base.capacities_qps)

    def _traffic(self, seed: int) -> Traffic:
        return QueryStream(self.scenario.workload, episode_seed(seed, SPLIT)).draw_until(day_length_s(self.scenario))

    def to_json(self) -> dict[str, Any]:
        """The contract's keys; null where a figure has no meaning, or lacks the policy that it is measured by."""
        return {
            "schema_version": SCHEMA_VERSION,
            "seeds": list(self.seeds),
            "split": SPLIT,
            "sla_ms": self.scenario.sla_ms,
            "devices": devices(self.scenario),
            "streams_sha256": [self._traffic(seed).sha256() for seed in self.seeds],
            "policies": {name: self._entry(name, result) for name, result in self.policies.items()},
            "versions": versions(),
        }

    def _entry(self, name: str, result: PolicyResult) -> dict[str, Any]:
        score, capacity_ratio = self.score(name), self.capacity_ratio(name)
        return {
            "p95_hourly_ms": result.mean("p95_hourly_s") * 1e3,
            "p95_hourly_ci_ms": paired.mean([1e3 * day_s for day_s in result.day_metrics_s]).ci,
            "p95_day_ms": result.mean("p95_day_s") * 1e3,
            "p99_day_ms": result.mean("p99_day_s") * 1e3,
            "violation_rate": result.mean("violation_rate"),
            "violation_rate_ci": result.estimate("violation_rate").ci,
            "goodput": 1.0 - result.mean("violation_rate"),
            "goodput_qps": result.mean("goodput_qps"),
            "capacity_qps": result.capacity_qps,
            "capacity_ratio": capacity_ratio and capacity_ratio.as_ratio(),
            "joules_per_query": result.mean("joules_per_query"),
            "tuning_queries": result.prepared.tuning_queries,
            "setting": describe(result.prepared),
            "score": score and score.value,
            "score_ci": score and score.ci,
            "vs": {other: self.versus(name, other).as_ratio() for other in self.policies if other != name},
        }


def evaluate(
    scenario: Scenario,
    policies: Sequence[str],
    *,
    seed: int = 0,
    seeds: int = 5,
    options: TuneOptions = TuneOptions(),
    labels: Sequence[str] | None = None,
    traffic: str = "day",
    progress: Progress = lambda what: None,
) -> Evaluation:
    """Evaluate policies (names, or paths of trained agents) on the test days of seeds `seed` .. `seed + seeds - 1`.

    The scenario gets the day of its capacity if its arrivals are no day; with `traffic` "flash", flash crowds on it.
    Tuning uses validation traffic alone.
    """
    if traffic not in TRAFFICS:
        raise InputError("traffic", traffic, f"must be one of {', '.join(TRAFFICS)}")
    if seeds < 1:
        raise InputError("seeds", seeds, "must be at least 1")
    names = list(labels or policies)
    if len(set(names)) < len(names):
        raise InputError("policies", ",".join(names), "must name each policy once")
    if seed < 0:
        raise InputError("seed", seed, "must be a whole number of at least 0")
    if not names:
        raise InputError("policies", "", f"must name at least one of {', '.join(policy_names())}, or an agent's path")
    for policy in policies:
        check_name(policy, options.engine)
    scenario = with_day(scenario, engine=options.engine)
    if traffic == "flash":
        scenario = with_flash(scenario)
    chosen = tuple(range(seed, seed + seeds))
    results: dict[str, PolicyResult] = {}
    for name, policy in zip(names, policies, strict=True):
        progress(f"{name}: preparing")
        results[name] = _evaluate(prepare(policy, scenario, options, progress), chosen, options, name, progress)
    return Evaluation(scenario, chosen, results)


def _evaluate(
    prepared: Prepared, seeds: Sequence[int], options: TuneOptions, name: str, progress: Progress
) -> PolicyResult:
    env = ServingEnv(prepared.scenario, engine=options.engine)
    days = []
    for seed in seeds:
        progress(f"{name}: test day {seed}")
        days.append(day_metrics(run_policy(env, prepared.policy, seed, SPLIT), prepared.scenario))
    env.close()
    if isinstance(prepared.policy, Watcher):
        return PolicyResult(prepared, tuple(days), None)
    progress(f"{name}: capacity")
    queries = capacity_queries(prepared.scenario, options.queries)
    capacities = policy_capacities(prepared, seeds, queries=queries, engine=options.engine)
    return PolicyResult(prepared, tuple(days), capacities)


def describe(prepared: Prepared) -> str:
    """A policy's settings in words: the fixed ones, or "adaptive"; of a reference, "sees ahead"."""
    if prepared.setting is None:
        return "sees ahead" if isinstance(prepared.policy, Watcher) else "adaptive"
    batch_size, threshold = prepared.setting.batch_size, prepared.setting.threshold
    return f"B {batch_size}, T {'never' if threshold is None else threshold}"
