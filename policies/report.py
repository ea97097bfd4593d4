"""The table of an evaluation."""

from __future__ import annotations

from deeprec_env import console
from deeprec_env.simulation.simulate import devices
from policies.evaluate import Evaluation, describe
from policies.paired import Estimate

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
                _spread(result.estimate("p95_hourly_s"), 1e3),
                f"{result.mean('p95_day_s') * 1e3:.2f}",
                f"{result.mean('p99_day_s') * 1e3:.2f}",
                _spread(result.estimate("violation_rate"), 1e2),
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
    if estimate is None:
        return "-"
    value, ci = estimate.value, estimate.ci
    return f"{value:{form}}" + (f" [{ci[0]:{form}}, {ci[1]:{form}}]" if ci and ci[0] < ci[1] else "")


def _spread(estimate: Estimate, unit: float) -> str:
    """A mean and the half of its interval, in so many units to one."""
    if estimate.ci is None:
        return f"{estimate.value * unit:.2f}"
    return f"{estimate.value * unit:.2f} ±{(estimate.ci[1] - estimate.value) * unit:.2f}"
