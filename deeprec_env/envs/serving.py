"""`DeepRec/Serving-v1`: hold the tail of a server low through a day of traffic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.task import ServingTask
from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import as_float
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import ENGINES, make_engine
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic

Observation = NDArray[np.float32]


class ServingEnv(gym.Env[Observation, NDArray[np.int64]]):
    """Control of batch size and offload threshold under given traffic.

    ## Description
    A scenario's node serves its traffic in virtual time. Once every `control.interval_s` the agent sets the batch size
    and the offload threshold for the queries that arrive from then on. An episode is one day of the scenario's diurnal
    arrivals (presets: 96 windows of about 200 queries at the mean rate) or, with other arrivals, 96 windows.

    ## Action space
    `MultiDiscrete([batch sizes, thresholds])`: indices into the scenario's ladders (`batch_sizes`, `thresholds`).

    ## Observation space
    `Box(-1, 10, (14,), float32)`, each entry clipped to it. The sample of a window is the latency of every query that
    completed in it and the age of every query in flight at its end that is older than the target.

    | entry | field | what it holds |
    |---|---|---|
    | 0, 1, 2 | p50, p95, p99 | percentiles of the window's sample / target |
    | 3 | violation_rate | share of the sample over the target |
    | 4 | offered | arrivals a second / the scenario's capacity (its mean rate if it gives no capacity) |
    | 5 | completed | completions a second / the same |
    | 6 | mean_items | mean size of the window's arrivals / the distribution's mean |
    | 7, 8 | cpu_utilisation, accelerator_utilisation | busy share of the busiest pool of the kind (0 without one) |
    | 9 | backlog | ln(1 + queries in flight / (the same x target)) |
    | 10, 11 | batch_size, threshold | position of the settings in force on their ladders, 0 to 1 |
    | 12, 13 | day_sin, day_cos | sine and cosine of the time of day; both 0 where traffic has no day |

    ## Reward
    `reward="tail"` (default): with x = p95 / target and v the violation rate of the window's sample,
    (1 - x if x <= 1 else -ln x) - 5 v. `reward="goodput"`: 1 - v. `reward="efficiency"`: 1 - v - 0.5 e with e the
    window's energy in that of all pools fully busy. All are 0 for an empty sample.

    ## Starting state
    An empty node with the scenario's settings; the first observation is of an empty window. `reset(seed=S)` starts the
    first episode of the stream of S, `reset()` goes on with the next. `reset(options={"split": ...})`: "train"
    (default), "validation" or "test", disjoint by construction. In training a diurnal day's peak is drawn each episode
    from U(0.4, 1.1) times capacity.

    ## Episode end
    Truncation behind the last window; no episode terminates.

    ## Arguments
    `scenario`: preset name, YAML file or mapping. `engine`: "compiled" or "asyncio", which give the same bytes.
    `reward`: "tail", "goodput" or "efficiency". Pickling and copying work in mid-episode: the copy replays the actions
    so far. The attribute `windows` is the length of an episode; set before `reset`, it makes episodes longer or
    shorter.

    ## Version history
    v1: capacities and days of the presets by an exhaustive search with better statistics (they moved by up to 2.3 %);
    no clock in the observation where traffic has no day.
    v0: first version; its presets are still there ("v0/NAME", or `gymnasium.make` of v0).
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (an instance variable in the base class)

    def __init__(
        self,
        scenario: str | Path | Mapping[str, Any] | Scenario = "dlrm-rmc1",
        engine: str = "compiled",
        reward: str = "tail",
        render_mode: str | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise InputError("engine", engine, f"must be one of {', '.join(ENGINES)}")
        if render_mode is not None:
            raise InputError("render_mode", render_mode, "must be None")
        self.render_mode = None
        self._task = task = ServingTask(scenario, reward)
        self._engine_name = engine
        self.scenario, self.interval_s = task.scenario, task.interval_s
        self.batch_sizes, self.thresholds = task.batch_sizes, task.thresholds
        self.action_space, self.observation_space = task.action_space, task.observation_space
        self.windows = task.day_windows
        self._seed: int | None = None
        self._split, self._episode = "train", 0
        self._actions: list[tuple[int, int]] = []
        self._engine: Engine | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, float]]:
        """Start the next episode; see the class for `seed` and `options`."""
        super().reset(seed=seed)
        split = self._task.split_of(options)
        if seed is not None or self._seed is None:
            self._seed, self._episode = int(self.np_random_seed) if seed is None else seed, 0
        else:
            self._episode += 1
        self._split, self._actions = split, []
        self._start()
        return self._result(Window.empty())

    def step(self, action: NDArray[np.int64]) -> tuple[Observation, float, bool, bool, dict[str, float]]:
        """Put an action in force for one window and return what it brought."""
        if self._engine is None:
            raise RuntimeError("call reset before step")
        if len(self._actions) >= self.windows:
            raise RuntimeError("the episode is over: call reset")
        window = self._advance(self._checked(action))
        observation, info = self._result(window)
        reward = self._task.reward(window)
        return observation, reward, False, len(self._actions) >= self.windows, info

    def finish(self) -> Records:
        """Let the queries still in flight at the episode's end complete, and return the records of all its queries."""
        if self._engine is None or len(self._actions) < self.windows:
            raise RuntimeError("the episode is not over: step until it is truncated")
        self._engine.drain()
        return self._engine.records()

    def close(self) -> None:
        """Release the engine; a second call does nothing."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _checked(self, action: NDArray[np.int64]) -> tuple[int, int]:
        """The action as indices; cheaper than the action space's own check."""
        given = np.asarray(action)
        if given.shape == (2,) and given.dtype.kind in "iu":
            batch_size, threshold = given.tolist()
            if 0 <= batch_size < len(self.batch_sizes) and 0 <= threshold < len(self.thresholds):
                return batch_size, threshold
        raise InputError("action", action, f"must be in {self.action_space}")

    @property
    def engine(self) -> Engine:
        """The node itself, in mid-episode, for references that know more than an observation holds."""
        if self._engine is None:
            raise RuntimeError("call reset first")
        return self._engine

    def traffic(self) -> Traffic:
        """All queries of the episode, those still to come included."""
        return self._task.traffic(*self._episode_key(), self.windows)

    def rate_qps(self, times_s: Floats) -> Floats:
        """The true rate of the episode's traffic at some times, bursts included, in queries a second."""
        return self._task.stream(*self._episode_key()).rate_qps(times_s)

    def _episode_key(self) -> tuple[int, str, int]:
        if self._seed is None:
            raise RuntimeError("call reset first")
        return self._seed, self._split, self._episode

    def _start(self) -> None:
        self.close()
        self._engine = make_engine(self.scenario, self.traffic(), self._engine_name)

    def _advance(self, chosen: tuple[int, int]) -> Window:
        assert self._engine is not None
        index = len(self._actions)
        self._actions.append(chosen)
        batch_size, threshold = self.batch_sizes[chosen[0]], self.thresholds[chosen[1]]
        return self._engine.run_window(batch_size, threshold, index * self.interval_s, (index + 1) * self.interval_s)

    def _result(self, window: Window) -> tuple[Observation, dict[str, float]]:
        if self._actions:
            batch, threshold_index = self._actions[-1]
            batch_size, threshold = self.batch_sizes[batch], self.thresholds[threshold_index]
        else:
            batch_size, threshold = self.scenario.control.batch_size, self.scenario.control.threshold
        observation = self._task.observe(window, self._task.places(batch_size, threshold), len(self._actions))
        return observation, self._task.info(window, float(batch_size), as_float(threshold))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the engine, which `__setstate__` rebuilds: it follows from scenario, seed and actions."""
        return self.__dict__ | {"_engine": None, "_started": self._engine is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        started = state.pop("_started")
        self.__dict__.update(state)
        actions, self._actions = self._actions, []
        if started:
            self._start()
            for action in actions:
                self._advance(action)
