"""The table of an evaluation."""

from __future__ import annotations

from deeprec_env import console
from deeprec_env.simulation.simulate import devices
from policies.evaluate import Evaluation, describe

COLUMNS = (
    "policy", "setting", "hourly p95 ms", "day p95 ms", "day p99 ms", "violations %", "goodput qps", "capacity qps",
    "J/query", "tuning queries", "vs grid-day",
)  # fmt: skip


def print_evaluation(evaluation: Evaluation, name: str) -> None:
    """Print the table; the last column is the ratio of the day metric to grid-day's, with its paired interval."""
    rows = []
    for policy, result in evaluation.policies.items():
        rows.append(
            [
                policy,
                describe(result.prepared),
                f"{result.mean('p95_hourly_s') * 1e3:.2f}",
                f"{result.mean('p95_day_s') * 1e3:.2f}",
                f"{result.mean('p99_day_s') * 1e3:.2f}",
                f"{result.mean('violation_rate') * 100:.3f}",
                f"{result.mean('goodput_qps'):.0f}",
                f"{result.capacity_qps:.0f}",
                f"{result.mean('joules_per_query'):.4f}",
                f"{result.prepared.tuning_queries:,}",
                _ratio(evaluation, policy),
            ]
        )
    seeds = f"{len(evaluation.seeds)} test days (seeds {evaluation.seeds[0]} to {evaluation.seeds[-1]})"
    target = f"target {evaluation.scenario.sla_ms:g} ms on p95"
    console.print_table(f"{name}{_accelerators(evaluation)}, {target}, {seeds}", COLUMNS, rows)


def _accelerators(evaluation: Evaluation) -> str:
    """Where the accelerators' latencies come from; an estimated profile says so in its name."""
    names = devices(evaluation.scenario).get("accelerator", [])
    return f" with accelerator {', '.join(names)}" if names else ""


def _ratio(evaluation: Evaluation, policy: str) -> str:
    if policy == "grid-day" or "grid-day" not in evaluation.policies:
        return "-"
    versus = evaluation.versus(policy, "grid-day")
    interval = versus["ci"]
    return f"{versus['ratio']:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")
