"""What `ServingEnv` and its vector sibling have in common: ladders, episodes, observations, rewards, infos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import FIELDS, HIGHEST, observe
from deeprec_env.envs.rewards import REWARDS, Scale
from deeprec_env.errors import InputError
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario, Threshold
from deeprec_env.simulation.arrays import as_float
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.stream import SPLITS, QueryStream, Traffic, episode_seed

WINDOWS = 96
"""Windows of an episode whose traffic is no day: as many as a day's."""

TRAINING_PEAK = (0.4, 1.1)
"""In training a day's peak is drawn from this range of capacity, so that agents have seen overload."""

PRESET_PEAK = 0.9
"""Peak of a day as given, in capacity, where the scenario does not say its capacity."""


class ServingTask:
    """A scenario as a control problem; raises `InputError` for one that is none."""

    def __init__(self, scenario: str | Path | Mapping[str, Any] | Scenario, reward: str) -> None:
        if reward not in REWARDS:
            raise InputError("reward", reward, f"must be one of {', '.join(REWARDS)}")
        self._reward = REWARDS[reward]
        self.scenario = load_scenario(scenario)
        self.sla_s = self.scenario.sla_s
        pools = [pool for stage in self.scenario.stages for pool in stage.pools().values()]
        self._scale = Scale(self.sla_s, sum(pool.busy_w for pool in pools))
        self.batch_sizes: tuple[int, ...] = self.scenario.control.batch_sizes
        self.thresholds: tuple[Threshold, ...] = self.scenario.thresholds
        arrivals, self.interval_s = self.scenario.workload.arrivals, self.scenario.control.interval_s
        self.day_windows, self._has_day = WINDOWS, isinstance(arrivals, Diurnal)
        if isinstance(arrivals, Diurnal):
            self.day_windows = max(1, round(arrivals.day_s / self.interval_s))
            if abs(self.day_windows * self.interval_s - arrivals.day_s) > 1e-9 * arrivals.day_s:
                raise InputError("control.interval_s", self.interval_s, f"must divide the day of {arrivals.day_s} s")
        self.mean_items = self.scenario.workload.sizes.mean_items
        self.scale_qps = self.scenario.capacity.qps if self.scenario.capacity else arrivals.mean_qps
        self.action_space = gym.spaces.MultiDiscrete([len(self.batch_sizes), len(self.thresholds)])
        self.observation_space = gym.spaces.Box(-1.0, HIGHEST, (len(FIELDS),), np.float32)

    def traffic(self, seed: int, split: str, episode: int, windows: int) -> Traffic:
        """The queries of an episode of so many windows."""
        return self.stream(seed, split, episode).draw_until(windows * self.interval_s)

    def stream(self, seed: int, split: str, episode: int) -> QueryStream:
        """The stream that an episode's queries are drawn from, at its start."""
        sequence = episode_seed(seed, split, episode)
        workload = self.scenario.workload
        if split == "train" and isinstance(workload.arrivals, Diurnal):
            # The fifth child: the stream itself has the first four.
            child = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, 4))
            peak = np.random.default_rng(child).uniform(*TRAINING_PEAK)
            capacity = self.scenario.capacity
            factor = peak / PRESET_PEAK if capacity is None else peak * capacity.qps / workload.arrivals.peak_qps
            workload = workload.model_copy(update={"arrivals": workload.arrivals.scaled(factor)})
        return QueryStream(workload, sequence)

    def split_of(self, options: Mapping[str, Any] | None) -> str:
        """The split that `reset`'s options ask for; `InputError` if they are not understood."""
        split = (options or {}).get("split", "train")
        unknown = set(options or {}) - {"split"}
        if unknown:
            raise InputError("options", sorted(unknown), "must hold split alone")
        if split not in SPLITS:
            raise InputError("split", split, f"must be one of {', '.join(SPLITS)}")
        return str(split)

    def reward(self, window: Window) -> float:
        """The reward of a window."""
        return self._reward(window, self._scale)

    def places(self, batch_size: int, threshold: Threshold) -> tuple[float, float]:
        """Where settings stand on the ladders, 0 to 1."""
        return _place(batch_size, self.batch_sizes), _place(threshold, self.thresholds)

    def observe(self, window: Any, places: Any, step: int) -> NDArray[np.float32]:
        """The observation after a `Window`, the episode's `step`-th; of arrays for several nodes, one row for each."""
        return observe(
            window,
            places,
            step / self.day_windows % 1.0 if self._has_day else None,
            sla_s=self.sla_s,
            scale_qps=self.scale_qps,
            mean_items=self.mean_items,
        )

    def info(self, window: Any, batch_size: Any, threshold: Any) -> dict[str, Any]:
        """`info` of a `Window` and its settings, threshold infinite for never; of arrays for several nodes, arrays."""
        return {
            "p50_ms": window.p50_s * 1e3,
            "p95_ms": window.p95_s * 1e3,
            "p99_ms": window.p99_s * 1e3,
            "offered_qps": window.offered_qps,
            "completed_qps": window.completed_qps,
            "violation_rate": window.violation_rate,
            "batch_size": batch_size,
            "threshold": threshold,
            "cpu_utilisation": window.cpu_utilisation,
            "accelerator_utilisation": window.accelerator_utilisation,
            "backlog": window.backlog,
            "energy_j": window.energy_j,
            "sla_ms": self.scenario.sla_ms,
        }


def _place(value: Any, ladder: tuple[Any, ...]) -> float:
    """Where a setting stands on its ladder, 0 to 1; between its neighbours' places if it is off the ladder."""
    if len(ladder) == 1:
        return 0.0
    if value in ladder:
        return ladder.index(value) / (len(ladder) - 1)
    below = sum(as_float(rung) < as_float(value) for rung in ladder)
    return below / len(ladder)
