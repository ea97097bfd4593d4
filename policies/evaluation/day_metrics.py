"""Days: the day metric of an episode's records, and of fixed settings on the traffic of a split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np

from deeprec_env.policies.evaluation.paired import POSITIVE, SHARE, Scale
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import run
from deeprec_env.simulation.summary import joules_each
from deeprec_env.simulation.window_meter import usage
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.stream import QueryStream, episode_seed

Day = TypeVar("Day")
"""What is measured of a day: `DayMetrics`, or the figures of another environment."""

HOURS = 24

LATENCY_LEVELS = (*(level / 100 for level in range(100)), 0.995, 0.999, 1.0)
"""Levels of `DayMetrics.latency_quantiles_s`."""


@dataclass(frozen=True)
class DayMetrics:
    """One day under one policy, over all queries that arrived in it, drained. Times in seconds.

    `hourly_p95_s` holds the 24 hours' p95 (NaN for an hour without queries that were admitted); `p95_hourly_s`, its
    mean, is the day metric. `violation_rate` is the share of all arrivals over the target, those that were shed among
    them; `shed_rate` is theirs, and they are in no percentile (infinite where nothing was admitted all day).
    `goodput_qps` counts the queries within the target.
    """

    scales: ClassVar[Mapping[str, Scale]] = {
        **dict.fromkeys(("violation_rate", "shed_rate"), SHARE),
        **dict.fromkeys(("p95_hourly_s", "p95_day_s", "p99_day_s", "goodput_qps", "joules_per_query"), POSITIVE),
    }

    hourly_p95_s: tuple[float, ...]
    p95_hourly_s: float
    p95_day_s: float
    p99_day_s: float
    violation_rate: float
    goodput_qps: float
    joules_per_query: float
    queries: int
    latency_quantiles_s: tuple[float, ...]
    shed_rate: float = 0.0


def day_metrics(records: Records, scenario: Scenario) -> DayMetrics:
    """Metrics of a drained day's records."""
    day_s, shed = day_length_s(scenario), records.shed
    arrival_s, latency_s = records.arrival_s[~shed], records.latency_s[~shed]
    within = int((latency_s <= scenario.sla_s).sum())
    if not latency_s.size:
        arrival_s, latency_s = np.zeros(1), np.full(1, math.inf)
    hour = np.minimum((arrival_s / (day_s / HOURS)).astype(np.int64), HOURS - 1)
    hourly = [float(np.percentile(latency_s[hour == h], 95)) if (hour == h).any() else math.nan for h in range(HOURS)]
    p95_s, p99_s = np.percentile(latency_s, (95, 99)).tolist()
    _, energy_j = usage(records, scenario, 0.0, day_s)
    return DayMetrics(
        hourly_p95_s=tuple(hourly),
        p95_hourly_s=float(np.nanmean(hourly)),
        p95_day_s=p95_s,
        p99_day_s=p99_s,
        violation_rate=(len(records) - within) / len(records),
        goodput_qps=within / day_s,
        joules_per_query=joules_each(energy_j, len(records)),
        queries=len(records),
        latency_quantiles_s=tuple(np.quantile(latency_s, LATENCY_LEVELS).tolist()),
        shed_rate=float(shed.mean()),
    )


def day_length_s(scenario: Scenario) -> float:
    """Length of an episode's traffic in seconds."""
    arrivals = scenario.workload.arrivals
    return arrivals.day_s if isinstance(arrivals, Diurnal) else 96 * scenario.control.interval_s


class DayRuns(Generic[Day]):
    """Fixed settings on the same few days, each measured; counts the queries it takes and remembers the results."""

    def __init__(
        self,
        scenario: Scenario,
        measure: Callable[[Records, Scenario], Day],
        *,
        seeds: Sequence[int],
        split: str,
        engine: str,
    ) -> None:
        self._scenario, self._measure, self._engine = scenario, measure, engine
        self._traffic = [
            QueryStream(scenario.workload, episode_seed(seed, split)).draw_until(day_length_s(scenario))
            for seed in seeds
        ]
        self._known: dict[Setting, list[Day]] = {}
        self.queries_used = 0

    def __len__(self) -> int:
        return len(self._traffic)

    def fixed(self, setting: Setting, count: int | None = None) -> list[Day]:
        """The first `count` days (None: all) under one setting."""
        scenario, days = self._scenario.with_setting(setting), self._known.setdefault(setting, [])
        for traffic in self._traffic[len(days) : count]:
            records = run(scenario, traffic, engine=self._engine)
            days.append(self._measure(records, scenario))
            self.queries_used += len(records)
        return days[:count]


def day_objective(days: Sequence[DayMetrics], violations: float = 0.001) -> float:
    """What a training chooses its best model by: the day metric in seconds (geometric mean), dear above a limit.

    It is multiplied by 1 + 1000 times the share of violations above `violations`, so that no model wins by giving up
    its peak hours.
    """
    excess = max(0.0, sum(day.violation_rate for day in days) / len(days) - violations)
    return geometric_mean([day.p95_hourly_s for day in days]) * (1.0 + 1e3 * excess)


def geometric_mean(values: Sequence[float]) -> float:
    """Geometric mean of positive numbers."""
    return math.exp(sum(math.log(value) for value in values) / len(values))
