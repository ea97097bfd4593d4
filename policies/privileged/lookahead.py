"""Searching ahead: try settings on copies of the present node, over futures of its traffic, and take the best."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.policies.evaluation.day_metrics import HOURS, day_length_s
from deeprec_env.policies.privileged.futures import forkable_engine, true_rates_qps
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.engine import ForkableEngine
from deeprec_env.workload.stream import Traffic

HORIZON = 3
"""Windows ahead that a setting is tried for, held."""

REACH, PER_LEVEL = 3, 2
"""Candidates: the best `PER_LEVEL` settings of the load levels up to `REACH` below and above the present one."""

FINALISTS = 4
"""Candidates that are tried on further futures."""

FIRST_FUTURES, MORE_FUTURES = 2, 6
"""Futures that all candidates are tried on, and further ones for the finalists."""


class Candidates(Protocol):
    """Where the settings that are tried come from: a table by load, such as a `LoadTable`."""

    @property
    def scenario(self) -> Scenario:
        """On whose ladders the settings are."""

    @property
    def unit_qps(self) -> float:
        """The rate of load 1."""

    @property
    def ranking(self) -> Sequence[Sequence[Setting]]:
        """By load level the best settings, best first."""

    def indices(self, loads: Floats) -> NDArray[np.int64]:
        """The level of each load."""


class LookAhead(ABC):
    """A reference that is shown the node itself; a subclass says which futures of the traffic it believes in.

    The objective is the day metric as far as the horizon decides it: the p95 of the present hour (the latencies it has
    already seen, those of the queries in flight, and those of the queries to come) and of the hours that the horizon
    reaches into, each by its share that lies before the horizon's end. All candidates meet the same futures. What is
    simulated on the way is part of the act, not counted as tuning; the load table that names the candidates is.
    """

    futures = (FIRST_FUTURES, MORE_FUTURES)
    controls: tuple[str, ...] = ("batch_size", "threshold")

    def __init__(self, table: Candidates) -> None:
        self._table = table

    def watch(self, env: TrafficEnv) -> None:
        """Start an episode of `env`; needs the compiled engine, which can be forked."""
        self._engine = forkable_engine(env)
        self._interval_s, self._windows = env.interval_s, env.windows
        self._hour_s = day_length_s(env.scenario) / HOURS
        self._rates = true_rates_qps(env)
        self._held: Setting | None = None
        self._hour_begins = 0  # the first query of the present hour

    @abstractmethod
    def future(self, window: int, until: int) -> Traffic:
        """Traffic of the windows `window` to before `until`."""

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The best action for the watched environment; the observation adds nothing to what it sees there."""
        window = round(self._engine.now_s / self._interval_s)
        until = min(window + HORIZON, self._windows)
        present = self._engine.fork(Traffic.nothing())
        known_s, end_s = self._known_latencies(present), until * self._interval_s
        trial = _Trial(present, known_s, self._hour_s, end_s, self.value)
        candidates, (first, more) = self._candidates(window), self.futures
        costs = trial.costs(candidates, [self.future(window, until) for _ in range(first)])
        if more:
            finalists = np.argsort(costs, kind="stable")[:FINALISTS]
            candidates = [candidates[finalist] for finalist in finalists]
            costs = costs[finalists] + trial.costs(candidates, [self.future(window, until) for _ in range(more)])
        self._held = candidates[int(np.argmin(costs))]
        return np.array(self._table.scenario.action(self._held, self.controls)), state

    def value(self, latency_s: Floats) -> float:
        """What an hour with these latencies costs, in seconds: its p95."""
        return p95_s(latency_s)

    def _candidates(self, window: int) -> list[Setting]:
        level = int(self._table.indices(self._rates[window].mean(keepdims=True) / self._table.unit_qps)[0])
        near = self._table.ranking[max(level - REACH, 0) : level + REACH + 1]
        settings = [setting for best in near for setting in best[:PER_LEVEL]] + self.more_candidates(level)
        return list(dict.fromkeys(settings + ([self._held] if self._held else [])))

    def more_candidates(self, level: int) -> list[Setting]:
        """Settings that are tried besides at a load level; none."""
        return []

    def _known_latencies(self, present: ForkableEngine) -> Floats:
        """Latencies of the hour's queries that `present` has forgotten: they completed before the oldest in flight."""
        records = self._engine.records(self._hour_begins)
        hour_begin_s = _hour(np.array([present.now_s]), self._hour_s)[0] * self._hour_s
        before = int(np.searchsorted(records.arrival_s, hour_begin_s))
        self._hour_begins = records.first + before
        return records.latency_s[before : max(before, present.first_known - records.first)]


class _Trial:
    """Settings tried from one present."""

    def __init__(
        self, present: ForkableEngine, known_s: Floats, hour_s: float, end_s: float, value: Callable[[Floats], float]
    ) -> None:
        self._present, self._known_s, self._hour_s, self._end_s = present, known_s, hour_s, end_s
        self._value = value
        self._hour = int(_hour(np.array([present.now_s]), hour_s)[0])

    def costs(self, candidates: list[Setting], futures: list[Traffic]) -> Floats:
        """By candidate the sum over the futures of the objective, in seconds."""
        return np.array([sum(self._cost(setting, future) for future in futures) for setting in candidates])

    def _cost(self, setting: Setting, future: Traffic) -> float:
        node = self._present.fork(future)
        node.control(setting)
        node.drain()
        records = node.records()
        hour, latency_s = _hour(records.arrival_s, self._hour_s), records.latency_s
        cost = 0.0
        for this in range(self._hour, int(hour.max(initial=self._hour)) + 1):
            sample = latency_s[hour == this]
            if this == self._hour:
                sample = np.concatenate([self._known_s, sample])
            if sample.size:
                share = min(1.0, self._end_s / self._hour_s - this)
                cost += share * self._value(sample)
        return cost


def p95_s(sample: Floats) -> float:
    """NumPy's percentile, without what it costs to be general: this runs thousands of times a day."""
    rank = 0.95 * (len(sample) - 1)
    below = int(rank)
    above = min(below + 1, len(sample) - 1)
    around = np.partition(sample, (below, above))
    return float(around[below] + (rank - below) * (around[above] - around[below]))


def _hour(times_s: Floats, hour_s: float) -> Ints:
    """The hour of each time; a window's start that is an hour's is in it, whatever the rounding."""
    return np.floor(times_s / hour_s + 1e-9).astype(np.int64)
