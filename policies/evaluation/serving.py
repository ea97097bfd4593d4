"""How policies are judged in `DeepRec/Serving-v1`: by the tail through test days, with capacity and score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from deeprec_env.analysis.day import with_drift, with_flash
from deeprec_env.arguments import choice
from deeprec_env.policies.adaptive.specialist_file import shipped_specialist
from deeprec_env.policies.base import PrivilegedPolicy, TunedPolicy
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.day_metrics import DayMetrics, day_length_s, day_metrics, day_objective
from deeprec_env.policies.evaluation.episodes import EpisodeRun
from deeprec_env.policies.evaluation.evaluation import (
    HEADER,
    SPLIT,
    Choices,
    Comparison,
    Evaluation,
    Result,
    Tuning,
    figure,
)
from deeprec_env.policies.evaluation.paired import Estimate
from deeprec_env.policies.evaluation.policy_capacity import capacity_queries, policy_capacities
from deeprec_env.policies.fixed.best_day import with_best_day
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.registry import REFERENCES, baselines
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import devices
from deeprec_env.workload.stream import QueryStream, episode_seed

TRAFFICS: dict[str, Callable[[Scenario], Scenario]] = {
    "day": lambda scenario: scenario,
    "flash": with_flash,
    "drift": with_drift,
}
"""Traffic that policies can be compared on, each what it makes of a scenario with a day."""


def score(result: Result) -> Estimate | None:
    """0 for grid-day, 1 for rate-oracle; None without both of them, or with too little between them."""
    if not {"grid-day", "rate-oracle"} <= set(result.results):
        return None
    each = (result, result.results["grid-day"], result.results["rate-oracle"])
    return paired.score(*(one.values("p95_hourly_s") for one in each))


def capacity_ratio(result: Result) -> Estimate | None:
    """Capacity in that of grid-capacity, paired; None without it, for a reference, or where either is 0."""
    base = result.results.get("grid-capacity")
    if base is None or base.capacities_qps is None or result.capacities_qps is None:
        return None
    return paired.ratio(result.capacities_qps, base.capacities_qps)


def describe(prepared: TunedPolicy) -> str:
    """A policy's settings in words: the fixed ones, what it says of itself (`in_words`), "sees ahead" or "adaptive"."""
    if prepared.setting is None:
        own = getattr(prepared.policy, "in_words", "adaptive")
        return "sees ahead" if isinstance(prepared.policy, PrivilegedPolicy) else str(own)
    setting = prepared.setting
    offload: Any = setting.level("offload")
    words = f"B {setting.batch_size}, T {'never' if offload is None else offload}"
    words += "" if setting.order == "fcfs" else f", {setting.order}"
    return words + ("" if setting.admit_ms is None else f", admits {setting.admit_ms:g} ms")


def _measure(run: EpisodeRun, prepared: TunedPolicy) -> DayMetrics:
    return day_metrics(run.records, prepared.scenario)


def _judge(days: Sequence[DayMetrics], scenario: Scenario) -> dict[str, float]:
    return {
        "objective_s": day_objective(days),
        "p95_hourly_ms": sum(day.p95_hourly_s for day in days) / len(days) * 1e3,
        "violation_rate": sum(day.violation_rate for day in days) / len(days),
    }


def traffic_of(choices: Choices) -> Callable[[Scenario], Scenario]:
    """What the chosen traffic makes of a scenario with a day; `InputError` for one that is not known."""
    return TRAFFICS[choice("traffic", choices["traffic"], TRAFFICS)]


def _prepare(scenario: Scenario, engine: str, choices: Choices) -> Scenario:
    traffic = traffic_of(choices)
    return traffic(with_best_day(scenario, engine=engine))


def _capacities(prepared: TunedPolicy, seeds: Sequence[int], options: TuneOptions) -> tuple[float, ...]:
    queries = capacity_queries(prepared.scenario, options.queries)
    return policy_capacities(prepared, seeds, queries=queries, engine=options.engine)


def streams_of(compared: Comparison) -> list[str]:
    """The digests of the test days' traffic."""
    workload, day_s = compared.scenario.workload, day_length_s(compared.scenario)
    streams = [QueryStream(workload, episode_seed(seed, SPLIT)) for seed in compared.seeds]
    return [stream.draw_until(day_s).sha256() for stream in streams]


def specialist(tuning: Tuning) -> TunedPolicy:
    """The agent that is shipped for the scenario; `InputError` where none is."""
    return shipped_specialist(tuning.spec, tuning.scenario)


def _versus(result: Result, other: str) -> Estimate:
    """Ratio of the day metrics: below 1, `result` is better."""
    found = result.ratio(other, "p95_hourly_s")
    assert found is not None  # latencies are positive
    return found


def _title(compared: Comparison) -> str:
    """With where the accelerators' latencies come from; an estimated profile says so in its name."""
    names = devices(compared.scenario).get("accelerator", [])
    accelerators = f" with accelerator {', '.join(names)}" if names else ""
    return f"{accelerators}, target {compared.scenario.sla_ms:g} ms on p95, {compared.seeds_in_words}"


def _in_words(estimate: Estimate | None, form: str = ".3g") -> str:
    return "-" if estimate is None else estimate.with_interval(form)


def _versus_grid_day(result: Result) -> str:
    return _in_words(_versus(result, "grid-day")) if "grid-day" in result.others else "-"


def _as_ratio(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.as_ratio()


SPECIALIST = {"specialist": specialist}
"""The trained agent of the package, by its name."""

SERVING = Evaluation(
    measure=_measure,
    judge=_judge,
    objective="objective_s",
    prepare=_prepare,
    choices={"traffic": "day"},
    baselines=baselines() | SPECIALIST,
    compared=("static", "deeprecsched", "grid-capacity", "grid-day", "load-table", "rate-oracle"),
    references=REFERENCES,
    # A reference has none: to search ahead in every window of every probed rate would cost more than all the rest, and
    # no server could do what it does.
    capacities=_capacities,
    header={**{key: cell for key, cell in HEADER.items() if key != "environment"}, "streams_sha256": streams_of},
    entry={
        "p95_hourly_ms": lambda result: result.mean("p95_hourly_s") * 1e3,
        "p95_hourly_ci_ms": lambda result: result.estimate("p95_hourly_s", 1e3).ci,
        "p95_day_ms": lambda result: result.mean("p95_day_s") * 1e3,
        "p99_day_ms": lambda result: result.mean("p99_day_s") * 1e3,
        **figure("violation_rate"),
        **figure("shed_rate"),
        "goodput": lambda result: 1.0 - result.mean("violation_rate"),
        "goodput_qps": lambda result: result.mean("goodput_qps"),
        "capacity_qps": lambda result: result.capacity_qps,
        "capacity_ratio": lambda result: _as_ratio(capacity_ratio(result)),
        "joules_per_query": lambda result: result.estimate("joules_per_query").known,
        "tuning_queries": lambda result: result.prepared.tuning_queries,
        "setting": lambda result: describe(result.prepared),
        "score": lambda result: (found := score(result)) and found.value,
        "score_ci": lambda result: (found := score(result)) and found.ci,
        "vs": lambda result: {other: _versus(result, other).as_ratio() for other in result.others},
    },
    columns={
        "setting": lambda result: describe(result.prepared),
        "hourly p95 ms": lambda result: result.estimate("p95_hourly_s").with_interval(".2f", 1e3),
        "day p95 ms": lambda result: f"{result.mean('p95_day_s') * 1e3:.2f}",
        "day p99 ms": lambda result: f"{result.mean('p99_day_s') * 1e3:.2f}",
        "shed %": lambda result: result.estimate("shed_rate").with_interval(".2f", 1e2),
        "goodput qps": lambda result: f"{result.mean('goodput_qps'):.0f}",
        "violations %": lambda result: result.estimate("violation_rate").with_interval(".2f", 1e2),
        "capacity qps": lambda result: "-" if result.capacity_qps is None else f"{result.capacity_qps:.0f}",
        "of grid-capacity's": lambda result: (
            "-" if result.name == "grid-capacity" else _in_words(capacity_ratio(result))
        ),
        "J/query": lambda result: result.estimate("joules_per_query").in_words(".4f"),
        "tuning queries": lambda result: result.prepared.tuning_in_words,
        "vs grid-day": _versus_grid_day,
        "score": lambda result: _in_words(score(result), ".2f"),
    },
    title=_title,
    notes={
        "hourly p95 ms": "mean over the day's hours of the hour's p95",
        "of grid-capacity's": "ratio of capacities, above 1 carries more",
        "vs grid-day": "ratio of hourly p95, below 1 is quicker",
        "score": "0 is grid-day, 1 is rate-oracle",
    },
)
