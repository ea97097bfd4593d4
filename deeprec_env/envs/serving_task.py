"""The task of `ServingEnv`: the scenario's own traffic, a day of it where it has one."""

from __future__ import annotations

import math
from collections.abc import Hashable

from deeprec_env.envs.observation import FIELDS
from deeprec_env.envs.rewards import REWARDS
from deeprec_env.envs.task import AnyScenario, Episode, Task, episode_child
from deeprec_env.errors import InputError
from deeprec_env.simulation.checks import check_run_memory
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

WINDOWS = 96
"""Windows of an episode whose traffic is no day: as many as a day's."""

TRAINING_PEAK = (0.4, 1.1)
"""In training a day's peak is drawn from this range of capacity, so that agents have seen overload."""

PRESET_PEAK = 0.9
"""Peak of a day as given, in capacity, where the scenario does not say its capacity."""


class ServingTask(Task):
    """Hold the tail low under given traffic."""

    fields: tuple[str, ...] = FIELDS
    rewards = REWARDS

    def __init__(self, scenario: AnyScenario, reward: str, ladders: str | None = None) -> None:
        super().__init__(scenario, reward, ladders)
        self._take_day()
        arrivals = self.scenario.workload.arrivals
        self.scale_qps = self.scenario.capacity.qps if self.scenario.capacity else arrivals.mean_qps

    def _take_day(self) -> None:
        """Let an episode be as long as the scenario's day, if it has one."""
        arrivals = self.scenario.workload.arrivals
        self.windows, self._has_day = WINDOWS, isinstance(arrivals, Diurnal)
        self._checked_queries = 0  # of the longest episode that there was memory for
        if isinstance(arrivals, Diurnal):
            self.windows = max(1, round(arrivals.day_s / self.interval_s))
            if abs(self.windows * self.interval_s - arrivals.day_s) > 1e-9 * arrivals.day_s:
                raise InputError("control.interval_s", self.interval_s, f"must divide the day of {arrivals.day_s} s")

    def open(self, seed: int, split: str, episode: int, windows: int) -> GivenTraffic:
        """An episode of `windows` windows."""
        stream, length_s = self.stream(seed, split, episode), windows * self.interval_s
        queries = round(stream.mean_qps * length_s)
        if queries > self._checked_queries:  # a look at the machine's memory, which most episodes are spared
            check_run_memory(self.scenario, queries, field="queries of an episode")
            self._checked_queries = queries
        traffic = stream.draw_until(length_s)
        return GivenTraffic(traffic, self.windows if self._has_day else None)

    def stream(self, seed: int, split: str, episode: int) -> QueryStream:
        """The stream that an episode's queries are drawn from, at its start."""
        workload = self.scenario.workload
        if split == "train" and isinstance(workload.arrivals, Diurnal):
            peak = episode_child(seed, split, episode).uniform(*TRAINING_PEAK)
            capacity = self.scenario.capacity
            factor = peak / PRESET_PEAK if capacity is None else peak * capacity.qps / workload.arrivals.peak_qps
            workload = workload.model_copy(update={"arrivals": workload.arrivals.scaled(factor)})
        return QueryStream(workload, episode_seed(seed, split, episode))


class GivenTraffic(Episode):
    """Traffic that comes whatever the server does; `day_windows` is the length of its day, None without one."""

    def __init__(self, traffic: Traffic, day_windows: int | None) -> None:
        self._traffic, self._day_windows = traffic, day_windows

    def start(self) -> Traffic:
        """All of it."""
        return self._traffic

    @property
    def clock(self) -> Hashable | None:
        """The length of the day, 0 without one."""
        own = type(self).context_features is not GivenTraffic.context_features
        return None if own else self._day_windows or 0

    def context_features(self, step: int) -> tuple[float, ...]:
        """Sine and cosine of the time of day, both 0 without one."""
        if self._day_windows is None:
            return 0.0, 0.0
        day_fraction = step / self._day_windows % 1.0
        return math.sin(2.0 * math.pi * day_fraction), math.cos(2.0 * math.pi * day_fraction)
