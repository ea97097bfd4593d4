"""Fair comparison: every policy on the same test days, paired, with its capacity and what its tuning cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprec_env.analysis.capacity import Probe, RateSearch, find_capacity
from deeprec_env.analysis.day import with_day
from deeprec_env.envs.serving import ServingEnv
from deeprec_env.errors import InputError
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.intervals import t_quantile
from deeprec_env.simulation.load import pool_work
from deeprec_env.simulation.simulate import SCHEMA_VERSION, devices, run, versions, with_options
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed
from policies.base import Prepared, Progress
from policies.day import DayMetrics, day_length_s, day_metrics, geometric_mean, run_policy
from policies.registry import check_name, policy_names, prepare
from policies.tune import TuneOptions

SPLIT = "test"


@dataclass(frozen=True)
class PolicyResult:
    """One policy over the test days (one entry of `days` a seed)."""

    prepared: Prepared
    days: tuple[DayMetrics, ...]
    capacity_qps: float

    @property
    def day_metric_s(self) -> float:
        """Geometric mean over the days of the day metric."""
        return geometric_mean([day.p95_hourly_s for day in self.days])

    def mean(self, field: str) -> float:
        """Mean over the days of a field of `DayMetrics`."""
        return float(np.mean([getattr(day, field) for day in self.days]))


@dataclass(frozen=True)
class Evaluation:
    """Policies on the same test days."""

    scenario: Scenario
    seeds: tuple[int, ...]
    policies: dict[str, PolicyResult]

    def versus(self, name: str, other: str) -> dict[str, Any]:
        """Ratio of the day metrics (below 1: `name` is better) with its paired 95 % interval over the days."""
        logs = np.log(
            [
                mine.p95_hourly_s / theirs.p95_hourly_s
                for mine, theirs in zip(self.policies[name].days, self.policies[other].days, strict=True)
            ]
        )
        ratio, interval = math.exp(float(logs.mean())), None
        if len(logs) > 1:
            half = t_quantile(len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
            interval = [ratio * math.exp(-half), ratio * math.exp(half)]
        return {"ratio": ratio, "ci": interval}

    def _traffic(self, seed: int) -> Traffic:
        return QueryStream(self.scenario.workload, episode_seed(seed, SPLIT)).draw_until(day_length_s(self.scenario))

    def to_json(self) -> dict[str, Any]:
        """The contract's keys. `score` is null: it needs the rate-oracle."""
        return {
            "schema_version": SCHEMA_VERSION,
            "seeds": list(self.seeds),
            "split": SPLIT,
            "sla_ms": self.scenario.sla_ms,
            "devices": devices(self.scenario),
            "streams_sha256": [self._traffic(seed).sha256() for seed in self.seeds],
            "policies": {
                name: {
                    "p95_hourly_ms": result.mean("p95_hourly_s") * 1e3,
                    "p95_day_ms": result.mean("p95_day_s") * 1e3,
                    "p99_day_ms": result.mean("p99_day_s") * 1e3,
                    "violation_rate": result.mean("violation_rate"),
                    "goodput": 1.0 - result.mean("violation_rate"),
                    "goodput_qps": result.mean("goodput_qps"),
                    "capacity_qps": result.capacity_qps,
                    "joules_per_query": result.mean("joules_per_query"),
                    "tuning_queries": result.prepared.tuning_queries,
                    "setting": describe(result.prepared),
                    "score": None,
                    "vs": {other: self.versus(name, other) for other in self.policies if other != name},
                }
                for name, result in self.policies.items()
            },
            "versions": versions(),
        }


def evaluate(
    scenario: Scenario,
    policies: Sequence[str],
    *,
    seed: int = 0,
    seeds: int = 5,
    options: TuneOptions = TuneOptions(),
    labels: Sequence[str] | None = None,
    progress: Progress = lambda what: None,
) -> Evaluation:
    """Evaluate policies (names, or paths of trained agents) on the test days of seeds `seed` .. `seed + seeds - 1`.

    The scenario gets the day of its capacity if its arrivals are no day. Tuning uses validation traffic alone.
    """
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
        check_name(policy)
    scenario = with_day(scenario, engine=options.engine)
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
    progress(f"{name}: capacity")
    queries = capacity_queries(prepared.scenario, options.queries)
    capacity_qps = policy_capacity(prepared, seed=seeds[0], queries=queries, engine=options.engine)
    return PolicyResult(prepared, tuple(days), capacity_qps)


def probe_policy(prepared: Prepared, qps: float, *, seed: int, queries: int, engine: str = "compiled") -> Probe:
    """p95 and p99 of the first `queries` queries under a policy at a stationary Poisson rate, on test traffic."""
    at_rate = with_options(prepared.scenario, qps=qps)
    if prepared.setting is not None:
        at_rate = with_options(at_rate, batch_size=prepared.setting[0], threshold=prepared.setting[1])
        traffic = QueryStream(at_rate.workload, episode_seed(seed, SPLIT)).draw(queries)
        return Probe.of(run(at_rate, traffic, engine=engine).latency_s)
    env = ServingEnv(at_rate, engine=engine)
    # A few windows more than the queries need on average: the same queries as a fixed setting's, and some behind them.
    env.windows = math.ceil((queries + 5 * math.sqrt(queries)) / (qps * env.interval_s))
    try:
        return Probe.of(run_policy(env, prepared.policy, seed, SPLIT).latency_s[:queries])
    finally:
        env.close()


def policy_capacity(prepared: Prepared, *, seed: int, queries: int, engine: str = "compiled") -> float:
    """The highest stationary Poisson rate that meets the target under a policy, on test traffic.

    A fixed setting's by `find_capacity`; an adaptive policy's by the same rule but for the offered load, which settings
    that change do not have.
    """
    scenario = prepared.scenario
    if prepared.setting is not None:
        size, limit = prepared.setting
        return find_capacity(
            scenario,
            batch_size=size,
            threshold=limit,
            queries=queries,
            seed=seed,
            split=SPLIT,
            engine=engine,
            p95_only=False,
        ).qps
    highest = max(
        min(work.largest_qps for work in pool_work(scenario, batch_size, threshold))
        for batch_size in scenario.control.batch_sizes
        for threshold in scenario.thresholds
    )
    search = RateSearch(scenario, lambda qps: probe_policy(prepared, qps, seed=seed, queries=queries, engine=engine))
    low = 0.25 * highest
    while not search.meets_tail(low):
        low /= 2.0
        if low < 0.01 * highest:
            return 0.0
    return search.largest_unbounded(search.meets_tail, low, 4.0 * highest)


def capacity_queries(scenario: Scenario, queries: int) -> int:
    """Queries of a capacity's probe: at least what a day's windows hold at the scenario's capacity.

    So that an adaptive policy is tried at every time of the day, and a fixed setting on as many queries.
    """
    a_day = 0.0 if scenario.capacity is None else scenario.capacity.qps * day_length_s(scenario)
    return max(queries, math.ceil(a_day))


def describe(prepared: Prepared) -> str:
    """A policy's settings in words: the fixed ones, or "adaptive"."""
    if prepared.setting is None:
        return "adaptive"
    batch_size, threshold = prepared.setting
    return f"B {batch_size}, T {'never' if threshold is None else threshold}"


if __name__ == "__main__":
    import sys

    from deeprec_env.cli import main

    main(["evaluate", *sys.argv[1:]])
