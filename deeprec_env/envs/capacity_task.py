"""The task of `CapacityEnv`: Poisson traffic whose rate rises while the target is met, as DeepRecSched tries it."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprec_env.envs.observation import CAPACITY_FIELDS
from deeprec_env.envs.rewards import CAPACITY_REWARDS, carried_qps
from deeprec_env.envs.task import AnyScenario, Episode, Task, episode_child
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario, Workload
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.arrivals import Poisson
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

WINDOWS = 256
"""Windows of an episode: several climbs from the lowest start to capacity and back."""

STEP = 1.05
"""Factor between neighbouring rates of the grid."""

LOWEST, HIGHEST = -47, 10
"""Ends of the grid in steps from the reference: 0.10 and 1.63 of it."""

START = (-21, -7)
"""Where an episode's first rate is drawn from, in steps from the reference: 0.36 to 0.71 of it, ends included."""

STABLE_REGION = 0.10
"""The rate is held while p95 is at most the target and at least the target / (1 + this). Source: DeepRecSys
repository."""

SHORTEST_WINDOW = 2.0
"""Shortest window, in targets. Latencies tell of the load of up to a target ago: in shorter windows the rate runs
ahead of what it is judged by, and swings by half of itself about the capacity."""

_BLOCK = 1024


class CapacityTask(Task):
    """Carry the most queries a second within the target; `scale_qps` is the reference that is counted as 1."""

    fields = CAPACITY_FIELDS
    rewards = CAPACITY_REWARDS
    windows = WINDOWS

    def __init__(self, scenario: AnyScenario, reward: str, ladders: str | None = None) -> None:
        super().__init__(scenario, reward, ladders)
        self.interval_s = max(self.interval_s, SHORTEST_WINDOW * self.scenario.sla_s)
        self.scale_qps = reference_qps(self.scenario)
        self.grid_qps: Floats = self.scale_qps * STEP ** np.arange(LOWEST, HIGHEST + 1.0)

    def open(self, seed: int, split: str, episode: int, windows: int) -> ClimbingLoad:
        """An episode; how many windows of it are wanted does not matter."""
        first = int(episode_child(seed, split, episode).integers(*START, endpoint=True)) - LOWEST
        unit = self.scenario.workload.model_copy(update={"arrivals": Poisson(kind="poisson", qps=1.0)})
        sequence = episode_seed(seed, split, episode)
        return ClimbingLoad(unit, sequence, self.grid_qps, first, self.scenario.sla_s, self.interval_s)

    def info(self, window: Any, setting: SettingNumbers) -> dict[str, Any]:
        """As of every task, with the queries a second that completed within the target, and the reference."""
        carried = {"carried_qps": carried_qps(window), "reference_qps": self.scale_qps}
        return super().info(window, setting) | carried


def reference_qps(scenario: Scenario) -> float:
    """The scenario's capacity; without one, the highest rate that some setting of its ladders could keep up with."""
    if scenario.capacity is not None:
        return scenario.capacity.qps
    return max(
        min(demand.saturation_qps for demand in service_demands(scenario, setting)) for setting in scenario.settings()
    )


class ClimbingLoad(Episode):
    """Poisson arrivals at a rate that moves by at most a step of a grid from one window to the next.

    The points U_1, U_2, ... of a stream of rate 1 become arrivals: in the window that begins at t_k with the rate q_k,
    t = t_k + (U_i - L_k) / q_k with L_k = q_0 d + ... + q_(k-1) d, d the length of a window. So one seed is the same
    traffic whatever the rates, stretched; sizes and service noise go with the queries.
    """

    def __init__(
        self,
        unit: Workload,
        seed: np.random.SeedSequence,
        grid_qps: Floats,
        position: int,
        sla_s: float,
        interval_s: float,
    ) -> None:
        self._unit, self._seed = unit, seed
        self._grid_qps, self._position = grid_qps, position
        self._sla_s, self._interval_s = sla_s, interval_s
        self._reached = 0.0  # L_k
        self._drawn = 0  # queries of the stream
        self._stream = QueryStream(unit, seed)
        self._points = self._stream.draw(0)  # of the stream, not yet mapped

    @property
    def load_qps(self) -> float:
        """The rate of the window to come."""
        return float(self._grid_qps[self._position])

    def start(self) -> Traffic:
        """No arrival is known at the start."""
        return self._points.part(0, 0)

    def ahead(self, window: int) -> Traffic:
        """The arrivals of the window that is about to begin; in turn, no gaps."""
        begin_s, end_s, qps = window * self._interval_s, (window + 1) * self._interval_s, self.load_qps
        while True:
            # A point that rounding left to this window is not to lie before it.
            arrival_s = begin_s + np.maximum(self._points.arrival_s - self._reached, 0.0) / qps
            if arrival_s.size and arrival_s[-1] >= end_s:
                break
            more = self._stream.draw(_BLOCK)
            self._drawn += _BLOCK
            self._points = Traffic.joined([self._points, more])
        count = int(np.searchsorted(arrival_s, end_s))
        ahead = self._points.at(arrival_s).part(0, count)
        self._points = self._points.part(count, len(arrival_s))
        self._reached += qps * self._interval_s
        return ahead

    def on_window(self, window: Window) -> None:
        """A step up while p95 is well within the target, a step down above it; none without anything to judge by."""
        if not window.sample:
            return
        if window.p95_s > self._sla_s:
            self._position = max(self._position - 1, 0)
        elif window.p95_s < self._sla_s / (1.0 + STABLE_REGION):
            self._position = min(self._position + 1, len(self._grid_qps) - 1)

    def context_features(self, step: int) -> tuple[float, ...]:
        """The place of the rate to come on the grid, 0 to 1."""
        return (self._position / (len(self._grid_qps) - 1),)

    def facts(self) -> dict[str, float]:
        """The rate of the window to come, in queries a second."""
        return {"load_qps": self.load_qps}

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the stream, which `__setstate__` opens again."""
        return {name: value for name, value in self.__dict__.items() if name != "_stream"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._stream = QueryStream(self._unit, self._seed)
        for _ in range(self._drawn // _BLOCK):
            self._stream.draw(_BLOCK)
