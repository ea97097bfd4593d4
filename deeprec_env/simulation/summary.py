"""The summary of a run (rule 12): tail latencies with intervals, verdict, rates, utilisation and energy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.intervals import BATCHES, batch_means, mean_interval, quantile_interval
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.window_meter import usage, usage_of

Interval = tuple[float, float]


def warmup_queries(queries: int) -> int:
    """How many of the first arrivals a summary leaves out."""
    return max(1000, math.ceil(0.05 * queries))


@dataclass(frozen=True)
class Tail:
    """Latencies of the counted queries that were admitted, in seconds; intervals at 95 % from batch means.

    All are NaN where none was admitted.
    """

    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    mean_ci_s: Interval
    p95_ci_s: Interval
    p99_ci_s: Interval

    def verdict(self, scenario: Scenario) -> str:
        """ "pass" or "fail" where the intervals of p95 and p99 lie on one side of their limits, else "undecided"."""
        checks = [(self.p95_ci_s, scenario.sla_s)]
        if scenario.p99_factor is not None:
            checks.append((self.p99_ci_s, scenario.p99_factor * scenario.sla_s))
        if any(low > limit for (low, _), limit in checks):
            return "fail"
        return "pass" if all(high <= limit for (_, high), limit in checks) else "undecided"

    def to_json(self) -> dict[str, float | list[float | None] | None]:
        """In milliseconds; None for what is not a number."""
        return {
            "mean": in_ms(self.mean_s),
            "p50": in_ms(self.p50_s),
            "p95": in_ms(self.p95_s),
            "p99": in_ms(self.p99_s),
            "mean_ci": [in_ms(end_s) for end_s in self.mean_ci_s],
            "p95_ci": [in_ms(end_s) for end_s in self.p95_ci_s],
            "p99_ci": [in_ms(end_s) for end_s in self.p99_ci_s],
        }


def in_ms(seconds: float) -> float | None:
    """Milliseconds; None for what is not a number."""
    return seconds * 1e3 if math.isfinite(seconds) else None


MOST_SHED = 0.01
"""Share of the queries above which a run that sheds them never passes."""


@dataclass(frozen=True)
class Goodput:
    """What became of the counted queries: the share that was shed, the share that was within the target, of all.

    `goodput_qps`: those within the target, a second between the first counted and the last arrival.
    """

    shed_rate: float
    goodput: float
    goodput_qps: float

    @classmethod
    def of(cls, counted: int, shed: int, within: int, length_s: float) -> Goodput:
        """From how many queries there were of each, over a time."""
        return cls(shed / counted, within / counted, within / length_s)


@dataclass(frozen=True)
class Usage:
    """Rates, utilisation and energy between the first counted and the last arrival.

    Without the watts of any pool there is no energy: `joules_per_query` is NaN, `qps_per_watt` None.
    """

    qps_achieved: float
    utilisation: dict[str, float | None]
    joules_per_query: float
    qps_per_watt: float | None


def summarise_tail(records: Records, warmup: int) -> Tail:
    """Latencies of all queries admitted but the first `warmup`, however late they completed."""
    latency_s = records.latency_s[warmup:]
    admitted_s = latency_s[~records.shed[warmup:]]
    if not admitted_s.size:
        unknown = math.nan, math.nan
        return Tail(math.nan, math.nan, math.nan, math.nan, unknown, unknown, unknown)
    p50_s, p95_s, p99_s = np.percentile(admitted_s, (50, 95, 99)).tolist()
    return Tail(
        mean_s=float(admitted_s.mean()),
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        mean_ci_s=mean_interval(latency_s),
        p95_ci_s=quantile_interval(latency_s, 0.95),
        p99_ci_s=quantile_interval(latency_s, 0.99),
    )


def backlog_grows(records: Records, warmup: int) -> bool:
    """Whether latencies rise all through the run, as they do where more work comes than can be done."""
    return latencies_grow(records.latency_s[warmup:])


def latencies_grow(latency_s: Floats) -> bool:
    """`backlog_grows`, from the latencies in order of arrival, NaN of queries that were shed.

    Kendall's rank correlation of the means of 20 consecutive batches with their order, above 0.7. Of queries that were
    admitted; it does not grow where a batch has none.
    """
    return means_grow(batch_means(latency_s))


def means_grow(means: Floats) -> bool:
    """`backlog_grows`, from the means of the batches."""
    if np.isnan(means).any():
        return False
    later, earlier = np.triu_indices(BATCHES, 1)[::-1]
    return float(np.sign(means[later] - means[earlier]).mean()) > 0.7


def summarise_goodput(records: Records, scenario: Scenario, warmup: int) -> Goodput:
    """What became of all queries but the first `warmup`."""
    latency_s, length_s = records.latency_s[warmup:], float(records.arrival_s[-1] - records.arrival_s[warmup])
    within = int((latency_s <= scenario.sla_s).sum())
    return Goodput.of(len(latency_s), int(records.shed[warmup:].sum()), within, length_s)


def work_sent(records: Records, scenario: Scenario, warmup: int) -> dict[str, float | None]:
    """Mean work that the counted queries sent to the busiest pool of each kind, in its servers' time (None without).

    The offered load where the node's state decides who goes where, or how many are served together.
    """
    length_s = float(records.arrival_s[-1] - records.arrival_s[warmup])
    return usage_of(scenario, seconds_sent(records, warmup), length_s)[0]


def seconds_sent(records: Records, warmup: int) -> list[tuple[float, float]]:
    """By stage, the server-seconds on (CPU, accelerator) of all queries but the first `warmup`."""
    work_s = []
    for log in records.stages:
        seconds = log.end_s - log.start_s if log.carries is None else (log.end_s - log.start_s) * log.carries
        by_query = np.concatenate([[0.0], np.cumsum(seconds)])[log.first]
        sent = np.diff(by_query)[warmup:]
        away = log.offloaded[warmup:]
        work_s.append((float(sent[~away].sum()), float(sent[away].sum())))
    return work_s


def summarise_usage(records: Records, scenario: Scenario, warmup: int) -> Usage:
    """What the node did between the first counted and the last arrival."""
    begin_s, end_s = float(records.arrival_s[warmup]), float(records.arrival_s[-1])
    completed = int(((records.completion_s > begin_s) & (records.completion_s <= end_s)).sum())
    return use_of(completed, end_s - begin_s, *usage(records, scenario, begin_s, end_s))


def use_of(completed: int, length_s: float, utilisation: dict[str, float | None], energy_j: float) -> Usage:
    """Usage over a time in which n queries completed."""
    return Usage(
        qps_achieved=completed / length_s,
        utilisation=utilisation,
        joules_per_query=joules_each(energy_j, completed),
        qps_per_watt=completed / energy_j if energy_j > 0.0 else None,
    )


def joules_each(energy_j: float, queries: int) -> float:
    """Energy of a query in joules; NaN without queries, or without the watts of any pool."""
    return energy_j / queries if queries and energy_j > 0.0 else math.nan
