"""How policies are judged in `DeepRec/Pipeline-v0`: by the quality that they serve in time, on test days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeprec_env.envs.pipeline_day import best_quality, with_pipeline_day
from deeprec_env.policies.adaptive.degrade import DegradePolicy
from deeprec_env.policies.adaptive.plan_table import PlanTablePolicy
from deeprec_env.policies.base import PrivilegedPolicy, TunedPolicy
from deeprec_env.policies.evaluation.episodes import EpisodeRun
from deeprec_env.policies.evaluation.evaluation import HEADER, Comparison, Evaluation, Result, figure
from deeprec_env.policies.evaluation.pipeline_policies import POLICIES, PipelineTuning
from deeprec_env.policies.evaluation.plan_metrics import PipelineDay, pipeline_day
from deeprec_env.policies.fixed.best_plan import ISO_QUALITY
from deeprec_env.scenario.schema import Scenario

BASE = "best-fixed"
"""The policy that the table compares with."""


def describe(prepared: TunedPolicy) -> str:
    """What a policy chooses, in words."""
    policy = prepared.policy
    if (setting := prepared.setting) is not None:
        plan = prepared.scenario.plan_names[setting.plan]
        return f"{plan}, B {setting.batch_size}, T {setting.threshold or 'never'}"
    if isinstance(policy, DegradePolicy):
        return f"p95 > {policy.rule.high:g}: -{policy.rule.down}, < {policy.rule.low:g}: +1"
    if isinstance(policy, PlanTablePolicy):
        return f"by {policy.headroom:g} x rate"
    return "sees ahead" if isinstance(policy, PrivilegedPolicy) else "adaptive"


def _measure(run: EpisodeRun, prepared: TunedPolicy) -> PipelineDay:
    return pipeline_day(run.records, prepared.scenario)


def _judge(days: Sequence[PipelineDay], scenario: Scenario) -> dict[str, float]:
    return {
        "lost_goodput": 1.0 - sum(day.goodput for day in days) / len(days),
        "quality": sum(day.quality for day in days) / len(days),
        "violation_rate": sum(day.violation_rate for day in days) / len(days),
    }


def _versus(result: Result, other: str) -> dict[str, Any]:
    ratio, difference = result.ratio(other, "goodput"), result.difference(other, "goodput")
    named = {"ratio": None, "ci": None} if ratio is None else ratio.as_ratio()
    return named | {"difference": difference.value, "difference_ci": difference.ci and list(difference.ci)}


def _reference_qps(compared: Comparison) -> float:
    assert compared.scenario.capacity is not None
    return compared.scenario.capacity.qps


PIPELINE = Evaluation(
    measure=_measure,
    judge=_judge,
    objective="lost_goodput",
    prepare=lambda scenario, engine, choices: with_pipeline_day(scenario),
    choices={"quality_floor": ISO_QUALITY},
    tuning=PipelineTuning,
    baselines=POLICIES,
    references=("rate-oracle",),
    validation_seeds=tuple(range(1000, 1008)),  # days with bursts differ by more
    header={
        **{key: cell for key, cell in HEADER.items() if key != "devices"},
        "reference_qps": _reference_qps,
        "best_quality": lambda compared: best_quality(compared.scenario),
        "quality_floor": lambda compared: compared.choices["quality_floor"],
        "devices": HEADER["devices"],
    },
    entry={
        **figure("goodput"),
        **figure("quality"),
        **figure("violation_rate"),
        **figure("p95_ms", "p95_s", 1e3),
        **figure("p99_ms", "p99_s", 1e3),
        "setting": lambda result: describe(result.prepared),
        "tuning_queries": lambda result: result.prepared.tuning_queries,
        "vs": lambda result: {other: _versus(result, other) for other in result.others},
    },
    columns={
        "chooses": lambda result: describe(result.prepared),
        "goodput": lambda result: result.estimate("goodput").with_interval(".4f"),
        "quality": lambda result: result.estimate("quality").with_interval(".4f"),
        "violations %": lambda result: result.estimate("violation_rate").with_interval(".2f", 1e2),
        "p95 ms": lambda result: result.estimate("p95_s").with_interval(".1f", 1e3),
        f"vs {BASE}": lambda result: (
            result.difference(BASE, "goodput").with_interval("+.4f") if BASE in result.others else "-"
        ),
        "tuning queries": lambda result: result.prepared.tuning_in_words,
    },
    title=lambda compared: f", target {compared.scenario.sla_ms:g} ms, {compared.seeds_in_words}",
)
