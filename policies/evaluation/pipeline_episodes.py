"""Policies compared in `DeepRec/Pipeline-v0`: on the same test days, paired, with what their tuning cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deeprec_env import console
from deeprec_env.envs.pipeline import PipelineEnv
from deeprec_env.envs.pipeline_day import best_quality, with_pipeline_day
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.degrade import DegradePolicy
from deeprec_env.policies.adaptive.plan_table import PlanTablePolicy
from deeprec_env.policies.base import Prepared, Progress, Watcher
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.day_metrics import run_policy
from deeprec_env.policies.evaluation.paired import Estimate
from deeprec_env.policies.evaluation.pipeline_policies import POLICIES, PipelineTuning, prepare
from deeprec_env.policies.evaluation.plan_metrics import PipelineDay, pipeline_day
from deeprec_env.policies.fixed.best_plan import ISO_QUALITY
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.registry import is_agent, is_users
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, devices, versions

SPLIT = "test"

BASE = "best-fixed"
"""The policy that the table compares with."""


@dataclass(frozen=True)
class PipelineResult:
    """A policy over the test days, one a seed."""

    prepared: Prepared
    days: tuple[PipelineDay, ...]

    def values(self, field: str) -> list[float]:
        """A field of all days."""
        return [getattr(day, field) for day in self.days]

    def estimate(self, field: str) -> Estimate:
        """Mean over the days of a field, with its interval."""
        return paired.mean(self.values(field))

    def describe(self) -> str:
        """What the policy chooses, in words."""
        prepared, policy = self.prepared, self.prepared.policy
        if (setting := prepared.setting) is not None:
            plan = prepared.scenario.plan_names[setting.plan]
            return f"{plan}, B {setting.batch_size}, T {setting.threshold or 'never'}"
        if isinstance(policy, DegradePolicy):
            return f"p95 > {policy.rule.high:g}: -{policy.rule.down}, < {policy.rule.low:g}: +1"
        if isinstance(policy, PlanTablePolicy):
            return f"by {policy.headroom:g} x rate"
        return "sees ahead" if isinstance(policy, Watcher) else "adaptive"


@dataclass(frozen=True)
class PipelineComparison:
    """Policies on the same days."""

    scenario: Scenario
    seeds: tuple[int, ...]
    quality_floor: float
    policies: dict[str, PipelineResult]

    def ratio(self, name: str, other: str) -> Estimate | None:
        """Ratio of the goodputs (above 1: `name` is better) with its paired interval; None where one is 0."""
        return paired.ratio(self.policies[name].values("goodput"), self.policies[other].values("goodput"))

    def difference(self, name: str, other: str) -> Estimate:
        """Difference of the goodputs (above 0: `name` is better) with its paired interval."""
        values = zip(self.policies[name].values("goodput"), self.policies[other].values("goodput"), strict=True)
        return paired.mean([mine - theirs for mine, theirs in values])

    def to_json(self) -> dict[str, Any]:
        """The comparison as `deeprec evaluate --env pipeline --json` prints it."""
        assert self.scenario.capacity is not None
        return {
            "schema_version": SCHEMA_VERSION,
            "environment": "pipeline",
            "seeds": list(self.seeds),
            "split": SPLIT,
            "sla_ms": self.scenario.sla_ms,
            "reference_qps": self.scenario.capacity.qps,
            "best_quality": best_quality(self.scenario),
            "quality_floor": self.quality_floor,
            "devices": devices(self.scenario),
            "policies": {name: self._entry(name, result) for name, result in self.policies.items()},
            "versions": versions(),
        }

    def _entry(self, name: str, result: PipelineResult) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        for field, key, unit in (
            ("goodput", "goodput", 1.0),
            ("quality", "quality", 1.0),
            ("violation_rate", "violation_rate", 1.0),
            ("p95_s", "p95_ms", 1e3),
            ("p99_s", "p99_ms", 1e3),
        ):
            found = paired.mean([unit * value for value in result.values(field)])
            entry |= {key: found.value, f"{key}_ci": found.ci}
        others = [other for other in self.policies if other != name]
        return entry | {
            "setting": result.describe(),
            "tuning_queries": result.prepared.tuning_queries,
            "vs": {other: self._versus(name, other) for other in others},
        }

    def _versus(self, name: str, other: str) -> dict[str, Any]:
        ratio, difference = self.ratio(name, other), self.difference(name, other)
        named = {"ratio": None, "ci": None} if ratio is None else ratio.as_ratio()
        return named | {"difference": difference.value, "difference_ci": difference.ci and list(difference.ci)}


def compare(
    scenario: Scenario,
    policies: Sequence[str],
    *,
    seed: int = 0,
    seeds: int = 5,
    quality_floor: float = ISO_QUALITY,
    options: TuneOptions = TuneOptions(),
    progress: Progress = lambda what: None,
) -> PipelineComparison:
    """Run policies (names, or paths of trained agents) on the test days of `seed` .. `seed + seeds - 1`.

    The scenario gets its day if it has none. Tuning uses validation days alone. Raises `InputError` for bad input.
    """
    for field, value, least in (("seeds", seeds, 1), ("seed", seed, 0)):
        if value < least:
            raise InputError(field, value, f"must be at least {least}")
    if not policies or len(set(policies)) < len(policies):
        raise InputError("policies", ",".join(policies), f"must name at least one of {', '.join(POLICIES)}, each once")
    for name in policies:
        if name not in POLICIES and not is_users(name) and not is_agent(name):
            raise InputError("policy", name, f"must be one of {', '.join(POLICIES)}, or the path of a trained agent")
    scenario = with_pipeline_day(scenario)
    chosen, results = tuple(range(seed, seed + seeds)), {}
    tuning = PipelineTuning(scenario, options, quality_floor, progress)
    for name in policies:
        progress(f"{name}: preparing")
        prepared = prepare(name, tuning)
        env = PipelineEnv(prepared.scenario, engine=options.engine)
        days = []
        for each in chosen:
            progress(f"{name}: test day {each}")
            days.append(pipeline_day(run_policy(env, prepared.policy, each, SPLIT), scenario))
        env.close()
        results[name] = PipelineResult(prepared, tuple(days))
    return PipelineComparison(scenario, chosen, quality_floor, results)


COLUMNS = ("policy", "chooses", "goodput", "quality", "violations %", "p95 ms", f"vs {BASE}", "tuning queries")


def print_comparison(comparison: PipelineComparison, name: str) -> None:
    """Print the table; the differences of the goodputs are paired, at 95 %."""
    rows = []
    for policy, result in comparison.policies.items():
        versus = "-"
        if policy != BASE and BASE in comparison.policies:
            versus = comparison.difference(policy, BASE).with_interval("+.4f")
        rows.append(
            [
                policy,
                result.describe(),
                result.estimate("goodput").with_half(".4f"),
                result.estimate("quality").with_half(".4f"),
                result.estimate("violation_rate").with_half(".2f", 1e2),
                result.estimate("p95_s").with_half(".1f", 1e3),
                versus,
                f"{result.prepared.tuning_queries:,}",
            ]
        )
    seeds = f"{len(comparison.seeds)} test days (seeds {comparison.seeds[0]} to {comparison.seeds[-1]})"
    console.print_table(f"{name}, target {comparison.scenario.sla_ms:g} ms, {seeds}", COLUMNS, rows)
