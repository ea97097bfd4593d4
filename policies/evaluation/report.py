"""The table of an evaluation."""

from __future__ import annotations

from deeprec_env import console
from deeprec_env.policies.evaluation.days import Evaluation, describe
from deeprec_env.policies.evaluation.paired import Estimate
from deeprec_env.simulation.header import devices

COLUMNS = (
    "policy", "setting", "hourly p95 ms", "day p95 ms", "day p99 ms", "violations %", "capacity qps",
    "of grid-capacity's", "J/query", "tuning queries", "vs grid-day", "score",
)  # fmt: skip


def print_evaluation(evaluation: Evaluation, name: str) -> None:
    """Print the table: capacity and day metric beside those of grid-capacity and grid-day, paired, at 95 %."""
    rows = []
    for policy, result in evaluation.policies.items():
        rows.append(
            [
                policy,
                describe(result.prepared),
                result.estimate("p95_hourly_s").with_half(".2f", 1e3),
                f"{result.mean('p95_day_s') * 1e3:.2f}",
                f"{result.mean('p99_day_s') * 1e3:.2f}",
                result.estimate("violation_rate").with_half(".2f", 1e2),
                "-" if result.capacity_qps is None else f"{result.capacity_qps:.0f}",
                "-" if policy == "grid-capacity" else _figure(evaluation.capacity_ratio(policy)),
                f"{result.mean('joules_per_query'):.4f}",
                f"{result.prepared.tuning_queries:,}",
                _versus_grid_day(evaluation, policy),
                _figure(evaluation.score(policy), ".2f"),
            ]
        )
    seeds = f"{len(evaluation.seeds)} test days (seeds {evaluation.seeds[0]} to {evaluation.seeds[-1]})"
    target = f"target {evaluation.scenario.sla_ms:g} ms on p95"
    console.print_table(f"{name}{_accelerators(evaluation)}, {target}, {seeds}", COLUMNS, rows)


def _accelerators(evaluation: Evaluation) -> str:
    """Where the accelerators' latencies come from; an estimated profile says so in its name."""
    names = devices(evaluation.scenario).get("accelerator", [])
    return f" with accelerator {', '.join(names)}" if names else ""


def _versus_grid_day(evaluation: Evaluation, policy: str) -> str:
    if policy == "grid-day" or "grid-day" not in evaluation.policies:
        return "-"
    return _figure(evaluation.versus(policy, "grid-day"))


def _figure(estimate: Estimate | None, form: str = ".3g") -> str:
    """A figure with its interval, where that has any width."""
    if estimate is None:
        return "-"
    wide = estimate.ci is not None and estimate.ci[0] < estimate.ci[1]
    return estimate.with_interval(form) if wide else f"{estimate.value:{form}}"
