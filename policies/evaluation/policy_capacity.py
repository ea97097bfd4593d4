"""Capacity of any policy, fixed or adaptive: the highest stationary Poisson rate that it holds.

The rule is that of a fixed setting, read for settings that change: the offered load of every pool, averaged over the
queries by the settings they met, below 1 (under predicted offload or batching: no growth of the backlog); p95 within
the target; p99 within `p99_factor` times the target. A query that was shed counts as late for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deeprec_env.envs.node_env import NodeEnv
from deeprec_env.envs.serving import ServingEnv
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.evaluation.day_metrics import day_length_s
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.fixed.refine import saturation_rates
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import OFFLOAD, OFFLOADS, PREDICTED, Setting
from deeprec_env.simulation.intervals import quantile_interval
from deeprec_env.simulation.offered_load import ServiceDemand, service_demands
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.simulation.summary import backlog_grows, warmup_queries
from deeprec_env.workload.stream import QueryStream, episode_seed

SPLIT = "test"
PRECISION = 0.005

_STEP = 1.15  # first factor between rates while they are still to be bracketed, squared from one to the next
_CLOSE = 1.015  # the same where the answer is nearly known
_LOWEST = 0.01  # of the analytic bound: as good as an empty system
_SHED_S = 1e30  # for ever; a number, since percentiles are interpolated


@dataclass(frozen=True)
class RateProbe:
    """A policy at one rate: p95 and p99 in seconds, and the highest mean offered load of a pool."""

    p95_s: float
    p99_s: float
    load: float

    def meets(self, scenario: Scenario) -> bool:
        """Whether the scenario's rule holds; with `p99_factor` null that is p95 alone."""
        if scenario.p99_factor is None:
            return self.p95_s <= scenario.sla_s
        return self.load < 1.0 and self.p95_s <= scenario.sla_s and self.p99_s <= scenario.p99_factor * scenario.sla_s


class RateMeter:
    """Runs one policy at stationary rates, always on the same traffic, stretched: the first `queries` of a seed."""

    def __init__(
        self,
        prepared: TunedPolicy,
        *,
        seed: int,
        queries: int,
        split: str = SPLIT,
        engine: str = "compiled",
        make: Callable[..., NodeEnv] = ServingEnv,
    ) -> None:
        """`make`: the environment in which settings that change do so, of (scenario, engine=...)."""
        self._prepared, self._seed, self._split = prepared, seed, split
        self._queries, self._engine, self._make = queries, engine, make
        self._work: dict[Setting, list[ServiceDemand]] = {}

    def probe(self, qps: float) -> RateProbe:
        """The policy at a rate, without the warm-up."""
        records = self._run(with_options(self._prepared.scenario, qps=qps))
        counted = slice(warmup_queries(self._queries), self._queries)
        p95_s, p99_s = np.percentile(_latencies_s(records)[counted], (95, 99)).tolist()
        return RateProbe(p95_s, p99_s, self._load(records, counted, qps))

    def p95_s(self, qps: float) -> tuple[float, tuple[float, float]]:
        """p95 in seconds at a rate, and its 95 % interval."""
        records = self._run(with_options(self._prepared.scenario, qps=qps))
        latency_s = _latencies_s(records)[warmup_queries(self._queries) : self._queries]
        return float(np.percentile(latency_s, 95)), quantile_interval(latency_s, 0.95)

    def meets(self, qps: float) -> bool:
        """Whether the policy holds a rate, by the scenario's rule."""
        return not self.overloads(qps) and self.probe(qps).meets(self._prepared.scenario)

    def overloads(self, qps: float) -> bool:
        """Whether a fixed setting is known to fail the rule without a run: a pool's offered load is not below 1."""
        scenario, fixed = self._prepared.scenario, self._prepared.setting
        if fixed is None or fixed.offload == PREDICTED or scenario.p99_factor is None:
            return False
        return any(demand.load(qps) >= 1.0 for demand in service_demands(scenario, fixed))

    def _run(self, at_rate: Scenario) -> Records:
        fixed = self._prepared.setting
        if fixed is not None:
            traffic = QueryStream(at_rate.workload, episode_seed(self._seed, self._split)).draw(self._queries)
            return run(at_rate.with_setting(fixed), traffic, engine=self._engine)
        env = self._make(at_rate, engine=self._engine)
        # A few windows more than the queries need on average: a fixed setting's queries, and some after them.
        expected = self._queries + 5 * math.sqrt(self._queries)
        env.windows = math.ceil(expected / (at_rate.workload.arrivals.mean_qps * env.interval_s))
        try:
            return run_policy(env, self._prepared.policy, self._seed, self._split)
        finally:
            env.close()

    def _load(self, records: Records, counted: slice, qps: float) -> float:
        if self._undecided(records):
            return math.inf if backlog_grows(records, warmup_queries(self._queries)) else 0.0
        settings, counts = np.unique(records.setting[counted], axis=0, return_counts=True)
        loads = np.zeros(len(self._service_demands(settings[0])))
        for numbers, count in zip(settings, counts, strict=True):
            loads += count * np.array([demand.load(qps) for demand in self._service_demands(numbers)])
        return float(loads.max() / counts.sum())

    def _undecided(self, records: Records) -> bool:
        """Whether the work of the pools does not follow from the settings alone."""
        predicted = bool((records.setting[:, OFFLOAD] == OFFLOADS.index(PREDICTED)).any())
        return predicted or any(stage.batching is not None for stage in self._prepared.scenario.stages)

    def _service_demands(self, numbers: Floats) -> list[ServiceDemand]:
        setting = Setting.of(numbers)
        if setting not in self._work:
            self._work[setting] = service_demands(self._prepared.scenario, setting)
        return self._work[setting]


def _latencies_s(records: Records) -> Floats:
    """Latencies, of what was shed a number above all others."""
    return np.where(records.shed, _SHED_S, records.latency_s)


def policy_capacities(
    prepared: TunedPolicy,
    seeds: Sequence[int],
    *,
    queries: int,
    split: str = SPLIT,
    engine: str = "compiled",
    make: Callable[..., NodeEnv] = ServingEnv,
) -> tuple[float, ...]:
    """By seed the highest stationary Poisson rate that a policy holds, to `PRECISION` below; 0 where it holds none.

    Two policies are tried on the same traffic, so that their ratio is paired. The seeds after the first start from
    what it found, which is close.
    """
    scenario = prepared.scenario
    highest = max(saturation_rates(scenario).values())
    start = min(highest, scenario.capacity.qps) if scenario.capacity else 0.5 * highest
    found: list[float] = []
    for seed in seeds:
        meter = RateMeter(prepared, seed=seed, queries=queries, split=split, engine=engine, make=make)
        near = found[0] if found else 0.0
        found.append(_largest(meter.meets, near or start, _CLOSE if near else _STEP, _LOWEST * highest))
    return tuple(found)


def _largest(meets: Callable[[float], bool], start: float, step: float, lowest: float) -> float:
    """The highest rate before the first failure that is met, from `start` outwards, then by bisection."""
    low = high = start
    if meets(start):
        while meets(high := low * step):
            low, step = high, step * step
    else:
        while not meets(low := high / step):
            high, step = low, step * step
            if low < lowest:
                return 0.0
    while high - low > PRECISION * low:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def capacity_queries(scenario: Scenario, queries: int) -> int:
    """Queries of a probe: at least what a day's windows hold at the scenario's capacity.

    So that an adaptive policy is tried at every time of the day, and a fixed setting on as many queries.
    """
    a_day = 0.0 if scenario.capacity is None else scenario.capacity.qps * day_length_s(scenario)
    return max(queries, math.ceil(a_day))
