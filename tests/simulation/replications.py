"""Theory against simulation: t intervals over independent replications.

A law holds if theory lies in the interval at 99.99 %: the suite has some 140 of them, so that right engines would fail
it at one choice of seeds in seventy; seeds 0, 1, ... were not chosen. A law is tested sharply enough if theory for
servers a few per cent slower lies over two half-widths from the right one: an engine that wrong fails as surely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from deeprec_env import Scenario
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation import Records
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import QueryStream, Traffic, episode_seed

CONFIDENCE = 0.9999
REPLICATIONS = 16
WARM_UP = 0.1
"""Share of the arrivals that is cut before anything is counted."""

QUERIES = {"asyncio": 8_000, "compiled": 80_000}
"""Queries of a replication: both engines give the same bytes, so that the fast one carries the long runs."""

SLOWER = {"asyncio": 1.1, "compiled": 1.03}
"""How much slower servers must be told from right ones."""


@dataclass(frozen=True)
class Sample:
    """The counted queries of a run: latency, wait of the first request for a server, whether offloaded, and items.

    Latency and wait of a query that was shed are NaN.
    """

    records: Records
    latency_s: Floats
    wait_s: Floats
    offloaded: NDArray[np.bool_]
    items: Ints

    @classmethod
    def of(cls, records: Records) -> Sample:
        counted = slice(round(WARM_UP * len(records)), None)
        first = records.stages[0]
        served = ~records.shed
        wait_s = np.full(len(records), np.nan)
        wait_s[served] = first.start_s[first.first[:-1][served]] - records.arrival_s[served]
        return cls(
            records, records.latency_s[counted], wait_s[counted], records.offloaded[counted], records.items[counted]
        )


@dataclass(frozen=True)
class Law:
    """A mean that a run shows, and its theory where every service takes `slower` times as long."""

    observed: Callable[[Sample], float]
    theory: Callable[[float], float]


def mean_wait(theory: Callable[[float], float]) -> Law:
    return Law(lambda sample: float(sample.wait_s.mean()), theory)


def share_of_waits_over(time_s: float, theory: Callable[[float], float]) -> Law:
    return Law(lambda sample: float((sample.wait_s > time_s).mean()), theory)


def share_of_responses_over(time_s: float, theory: Callable[[float], float]) -> Law:
    return Law(lambda sample: float((sample.latency_s > time_s).mean()), theory)


def traffic(scenario: Scenario, seed: int, queries: int) -> Traffic:
    return QueryStream(scenario.workload, episode_seed(seed)).draw(queries)


def interval(values: Floats) -> tuple[float, float]:
    """Centre and half-width of the interval for the mean of independent values."""
    spread = float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()), float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2)) * spread


def assert_laws(scenario: Scenario, engine: str, laws: Sequence[Law], *, longer: float = 1.0) -> None:
    """Every law holds, and would not if servers were slower; runs are `longer` times the usual length."""
    queries = round(longer * QUERIES[engine])
    seen = np.empty((REPLICATIONS, len(laws)))
    for seed in range(REPLICATIONS):
        sample = Sample.of(run(scenario, traffic(scenario, seed, queries), engine=engine))
        seen[seed] = [law.observed(sample) for law in laws]
    for position, law in enumerate(laws):
        centre, half = interval(seen[:, position])
        right, wrong = law.theory(1.0), law.theory(SLOWER[engine])
        assert abs(centre - right) <= half, f"law {position}: theory {right}, simulation {centre} +- {half}"
        assert 2 * half < abs(wrong - right), f"law {position}: {centre} +- {half} can't tell {right} from {wrong}"
