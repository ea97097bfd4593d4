"""How settings do at stationary rates, and which of them do best: what tables by load are made of.

Who may shed is compared by goodput first, then by percentiles at about equal goodput.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.policies.fixed.refine import saturation_rates
from deeprec_env.policies.on_serving_v2 import without_further
from deeprec_env.scenario.schema import Capacity, Scenario, Workload
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

TIED = 0.002
"""Shares of late queries no further apart are taken for equal; in short runs so are two queries more."""

HIGH_P99, P99_WEIGHT = 0.8, 0.5
"""From this share of the target on p99 counts too, and how much: p95 alone gives capacity away on mt-wnd, and is blind
to a pool that few queries visit on dlrm-rmc2."""

LATE_WEIGHT = 5.0
"""Of the share of late queries in `Outcome.loss`, as in the environment's reward `tail`."""

WARM_UP = 0.2
"""Share of a run, at its start, that does not count. Runs are compared with one another: they may err alike."""


class Outcome(NamedTuple):
    """What came of a run: p95 and p99 of the admitted queries in targets, and the share of all that was late or shed.

    Of a run that admitted nothing both are 0.
    """

    p95: float
    p99: float
    late: float

    @property
    def cost(self) -> float:
        """p95, dearer where p99 is high."""
        return self.p95 * (1.0 + P99_WEIGHT * max(0.0, self.p99 - HIGH_P99))

    @property
    def loss(self) -> float:
        """The opposite of the reward `tail`, with `cost` for p95."""
        return (self.cost - 1.0 if self.cost <= 1.0 else math.log(self.cost)) + LATE_WEIGHT * self.late


T = TypeVar("T")


def ranked(outcomes: Mapping[T, Outcome], tied: float = TIED) -> list[T]:
    """Best first: those within `tied` of the fewest late queries by `cost`, then the others by late queries."""
    fewest = min((outcome.late for outcome in outcomes.values()), default=0.0)

    def place(which: T) -> tuple[float, float]:
        outcome = outcomes[which]
        return (0.0 if outcome.late <= fewest + tied else outcome.late), outcome.cost

    return sorted(outcomes, key=place)


def halved(
    candidates: Sequence[T], measure: Callable[[T, int], Outcome], rounds: Sequence[tuple[int, int]]
) -> dict[T, Outcome]:
    """Successive halving: the last round's outcomes, best first.

    `rounds` holds pairs (effort, kept): each round measures what is left by `measure(candidate, effort)` and keeps the
    best `kept`.
    """
    left: dict[T, Outcome] = {}
    remaining = list(candidates)
    for effort, kept in rounds:
        outcomes = {candidate: measure(candidate, effort) for candidate in remaining}
        remaining = ranked(outcomes, TIED + 2.0 / effort)[:kept]
        left = {candidate: outcomes[candidate] for candidate in remaining}
    return left


class StationaryRuns:
    """Runs of one scenario's settings at loads, shares of its capacity, on the validation stream of a seed.

    All are the same traffic, stretched. `queries_used` counts what they take.
    """

    def __init__(self, scenario: Scenario, *, seed: int, engine: str) -> None:
        workload = scenario.workload
        sizes = workload.sizes.stationary()
        # Without further ladders a setting that needs no events runs by the recursion, which is many times as fast.
        plain = without_further(scenario)
        still = plain.replace(workload=Workload(arrivals=workload.arrivals, sizes=sizes))
        self.scenario, self.queries_used = _with_capacity(with_options(still, qps=1.0), seed, engine)
        self._seed, self._engine = seed, engine
        self._traffic: dict[int, Traffic] = {}
        self._chosen: dict[Setting, Scenario] = {}

    @property
    def unit_qps(self) -> float:
        """The rate of load 1."""
        assert self.scenario.capacity is not None
        return self.scenario.capacity.qps

    def outcome(self, setting: Setting, load: float, queries: int) -> Outcome:
        """A setting at a load, over `queries` queries."""
        unit = self._traffic.get(queries)
        if unit is None:
            stream = QueryStream(self.scenario.workload, episode_seed(self._seed, "validation"))
            unit = self._traffic[queries] = stream.draw(queries)
        chosen = self._chosen.get(setting)
        if chosen is None:
            chosen = self._chosen[setting] = self.scenario.with_setting(setting)
        traffic = unit.at(unit.arrival_s / (load * self.unit_qps))
        records = run(chosen, traffic, engine=self._engine)
        self.queries_used += queries
        latency_s = records.latency_s[math.ceil(WARM_UP * queries) :]
        admitted_s = latency_s[~np.isnan(latency_s)]
        if not admitted_s.size:
            return Outcome(0.0, 0.0, 1.0)
        p95_s, p99_s = np.percentile(admitted_s, (95, 99)).tolist()
        late = 1.0 - float((admitted_s <= self.scenario.sla_s).sum()) / len(latency_s)
        return Outcome(p95_s / self.scenario.sla_s, p99_s / self.scenario.sla_s, late)


def least_regret(candidates: Sequence[T], outcome: Callable[[T, float], Outcome], loads: Sequence[float]) -> T:
    """The candidate whose `loss` is at no load far above the least there: what to do while the load is not known."""
    losses = np.array([[outcome(candidate, load).loss for load in loads] for candidate in candidates])
    regret = (losses - losses.min(axis=0)).max(axis=1)
    return candidates[int(np.argmin(regret))]


def _with_capacity(scenario: Scenario, seed: int, engine: str) -> tuple[Scenario, int]:
    """The scenario with the capacity of its own settings, where it says none, and the cost of that."""
    if scenario.capacity is not None:
        return scenario, 0
    found = find_capacity(scenario, queries=20_000, seed=seed, engine=engine, p95_only=False)
    qps = found.qps or max(saturation_rates(scenario).values())  # out of reach: the highest rate without overload
    control = scenario.control
    capacity = Capacity(
        qps=qps, batch_size=control.batch_size, threshold=control.threshold, found_by="deeprec capacity"
    )
    return scenario.replace(capacity=capacity), found.queries_used
