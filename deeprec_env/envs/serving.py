"""`DeepRec/Serving-v0`: hold the tail of a server low through a day of traffic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import FIELDS, HIGHEST, observe
from deeprec_env.envs.rewards import REWARDS
from deeprec_env.errors import InputError
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario, Threshold
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import ENGINES, make_engine
from deeprec_env.simulation.windows import Window, WindowMeter
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.stream import SPLITS, QueryStream, Traffic, episode_seed

WINDOWS = 96
"""Windows of an episode whose traffic is no day: as many as a day's."""

TRAINING_PEAK = (0.4, 1.1)
"""In training a day's peak is drawn from this range of capacity, so that agents have seen overload."""

PRESET_PEAK = 0.9
"""Peak of a day as given, in capacity, where the scenario does not say its capacity."""

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
    | 12, 13 | day_sin, day_cos | sine and cosine of the time of day |

    ## Reward
    `reward="tail"` (default): with x = p95 / target and v the violation rate of the window's sample,
    (1 - x if x <= 1 else -ln x) - 5 v. `reward="goodput"`: 1 - v. Both are 0 for an empty sample.

    ## Starting state
    An empty node with the scenario's settings; the first observation is of an empty window. `reset(seed=S)` starts the
    first episode of the stream of S, `reset()` goes on with the next. `reset(options={"split": ...})`: "train"
    (default), "validation" or "test", disjoint by construction. In training a diurnal day's peak is drawn each episode
    from U(0.4, 1.1) times capacity.

    ## Episode end
    Truncation behind the last window; no episode terminates.

    ## Arguments
    `scenario`: preset name, YAML file or mapping. `engine`: "asyncio" or "compiled", which give the same bytes.
    `reward`: "tail" or "goodput". Pickling and copying work in mid-episode: the copy replays the actions so far. The
    attribute `windows` is the length of an episode; set before `reset`, it makes episodes longer or shorter.

    ## Version history
    v0: first version.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (an instance variable in the base class)

    def __init__(
        self,
        scenario: str | Path | Mapping[str, Any] | Scenario = "dlrm-rmc1",
        engine: str = "asyncio",
        reward: str = "tail",
        render_mode: str | None = None,
    ) -> None:
        if reward not in REWARDS:
            raise InputError("reward", reward, f"must be one of {', '.join(REWARDS)}")
        if engine not in ENGINES:
            raise InputError("engine", engine, f"must be one of {', '.join(ENGINES)}")
        if render_mode is not None:
            raise InputError("render_mode", render_mode, "must be None")
        self.render_mode = None
        self.scenario = load_scenario(scenario)
        self.batch_sizes: tuple[int, ...] = self.scenario.control.batch_sizes
        self.thresholds: tuple[Threshold, ...] = self.scenario.thresholds
        self._engine_name, self._reward = engine, REWARDS[reward]
        arrivals, self.interval_s = self.scenario.workload.arrivals, self.scenario.control.interval_s
        self.windows = self._day_windows = WINDOWS
        if isinstance(arrivals, Diurnal):
            self.windows = self._day_windows = max(1, round(arrivals.day_s / self.interval_s))
            if abs(self.windows * self.interval_s - arrivals.day_s) > 1e-9 * arrivals.day_s:
                raise InputError("control.interval_s", self.interval_s, f"must divide the day of {arrivals.day_s} s")
        self._mean_items = self.scenario.workload.sizes.mean_items
        self._scale_qps = self.scenario.capacity.qps if self.scenario.capacity else arrivals.mean_qps
        self.action_space = gym.spaces.MultiDiscrete([len(self.batch_sizes), len(self.thresholds)])
        self.observation_space = gym.spaces.Box(-1.0, HIGHEST, (len(FIELDS),), np.float32)
        self._seed: int | None = None
        self._split, self._episode = "train", 0
        self._actions: list[tuple[int, int]] = []
        self._engine: Engine | None = None
        self._meter = WindowMeter(self.scenario)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, float]]:
        """Start the next episode; see the class for `seed` and `options`."""
        super().reset(seed=seed)
        split = (options or {}).get("split", "train")
        unknown = set(options or {}) - {"split"}
        if unknown:
            raise InputError("options", sorted(unknown), "must hold split alone")
        if split not in SPLITS:
            raise InputError("split", split, f"must be one of {', '.join(SPLITS)}")
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
        if not self.action_space.contains(np.asarray(action)):
            raise InputError("action", action, f"must be in {self.action_space}")
        chosen = (int(action[0]), int(action[1]))
        window = self._advance(chosen)
        observation, info = self._result(window)
        reward = self._reward(window, self.scenario.sla_s)
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

    @property
    def engine(self) -> Engine:
        """The node itself, in mid-episode, for references that know more than an observation holds."""
        if self._engine is None:
            raise RuntimeError("call reset first")
        return self._engine

    def traffic(self) -> Traffic:
        """All queries of the episode, those still to come included."""
        return self._stream().draw_until(self.windows * self.interval_s)

    def rate_qps(self, times_s: Floats) -> Floats:
        """The true rate of the episode's traffic at some times, bursts included, in queries a second."""
        return self._stream().rate_qps(times_s)

    def _start(self) -> None:
        self.close()
        self._meter = WindowMeter(self.scenario)
        self._engine = make_engine(self.scenario, self.traffic(), self._engine_name)

    def _stream(self) -> QueryStream:
        if self._seed is None:
            raise RuntimeError("call reset first")
        seed = episode_seed(self._seed, self._split, self._episode)
        workload = self.scenario.workload
        if self._split == "train" and isinstance(workload.arrivals, Diurnal):
            # The fifth child: the stream itself has the first four.
            child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 4))
            peak = np.random.default_rng(child).uniform(*TRAINING_PEAK)
            capacity = self.scenario.capacity
            factor = peak / PRESET_PEAK if capacity is None else peak * capacity.qps / workload.arrivals.peak_qps
            workload = workload.model_copy(update={"arrivals": workload.arrivals.scaled(factor)})
        return QueryStream(workload, seed)

    def _advance(self, chosen: tuple[int, int]) -> Window:
        assert self._engine is not None
        index = len(self._actions)
        self._actions.append(chosen)
        begin_s, end_s = index * self.interval_s, (index + 1) * self.interval_s
        self._engine.control(self.batch_sizes[chosen[0]], self.thresholds[chosen[1]])
        self._engine.advance(end_s)
        return self._meter.close_window(self._engine, begin_s, end_s)

    def _result(self, window: Window) -> tuple[Observation, dict[str, float]]:
        batch_size, threshold = self._settings()
        observation = observe(
            window,
            sla_s=self.scenario.sla_s,
            scale_qps=self._scale_qps,
            mean_items=self._mean_items,
            batch_position=_position(batch_size, self.batch_sizes),
            threshold_position=_position(threshold, self.thresholds),
            day_fraction=len(self._actions) / self._day_windows % 1.0,
        )
        info = {
            "p50_ms": window.p50_s * 1e3,
            "p95_ms": window.p95_s * 1e3,
            "p99_ms": window.p99_s * 1e3,
            "offered_qps": window.offered_qps,
            "completed_qps": window.completed_qps,
            "violation_rate": window.violation_rate,
            "batch_size": float(batch_size),
            "threshold": math.inf if threshold is None else float(threshold),
            "cpu_utilisation": window.cpu_utilisation,
            "accelerator_utilisation": window.accelerator_utilisation,
            "backlog": float(window.backlog),
            "energy_j": window.energy_j,
            "sla_ms": self.scenario.sla_ms,
        }
        return observation, info

    def _settings(self) -> tuple[int, Threshold]:
        if not self._actions:
            return self.scenario.control.batch_size, self.scenario.control.threshold
        batch, threshold = self._actions[-1]
        return self.batch_sizes[batch], self.thresholds[threshold]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the engine, which `__setstate__` rebuilds: it follows from scenario, seed and actions."""
        return self.__dict__ | {"_engine": None, "_meter": None, "_started": self._engine is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        started = state.pop("_started")
        self.__dict__.update(state)
        actions, self._actions = self._actions, []
        if started:
            self._start()
            for action in actions:
                self._advance(action)


def _position(value: object, ladder: tuple[Any, ...]) -> float:
    """Where a setting stands on its ladder, 0 to 1; between its neighbours' places if it is off the ladder."""
    if len(ladder) == 1:
        return 0.0
    if value in ladder:
        return ladder.index(value) / (len(ladder) - 1)
    below = sum(_as_number(rung) < _as_number(value) for rung in ladder)
    return below / len(ladder)


def _as_number(setting: Any) -> float:
    return math.inf if setting is None else float(setting)
