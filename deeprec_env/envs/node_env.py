"""A node as a Gymnasium environment, whatever its task: windows, episodes, copies and pictures."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.rendering import RENDER_MODES, Frame, Picture, describe
from deeprec_env.envs.task import Episode, Task, split_of
from deeprec_env.envs.task_source import OneTask, TaskSource
from deeprec_env.errors import InputError
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.checks import check_setting
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.engines import ANY_CLOCK, engine_kind, make_engine
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic

Observation = NDArray[np.float32]


class NodeEnv(gym.Env[Observation, Any]):
    """A node whose settings are chosen once a window; a task says from what, and what its traffic and reward are."""

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 10}  # noqa: RUF012  (gymnasium's own type)
    _spec: gym.envs.registration.EnvSpec | None = None

    def __init__(self, task: Task | TaskSource, engine: str, render_mode: str | None) -> None:
        engine_kind(engine, ANY_CLOCK)
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise InputError("render_mode", render_mode, f"must be None or one of {', '.join(RENDER_MODES)}")
        self.render_mode = render_mode
        self._picture: Picture | None = None
        self._tasks = OneTask(task) if isinstance(task, Task) else task
        self._take(self._tasks.first)
        task = self._task
        if render_mode == "rgb_array":
            self._picture = self._drawn()
        self.engine_name = engine
        self.action_space, self.observation_space = task.action_space, task.observation_space
        self._levels = [len(task.ladders[name]) for name in task.controls]
        self.windows = task.windows
        self._seed: int | None = None
        self._split, self._episode = "train", 0
        self._actions: list[Any] = []  # that have run
        self._whole = True  # the engine has run these actions and nothing else, which an interrupt leaves open
        self._frames: list[Frame] = []  # of the windows so far, where they are to be drawn
        self._engine: Engine | None = None
        self._opened: Episode | None = None
        self._setting: Setting = task.start  # in force

    @property
    def spec(self) -> gym.envs.registration.EnvSpec | None:
        """Gymnasium's, with the length of the episodes that begin now: no registration can know a scenario's day."""
        return None if self._spec is None else dataclasses.replace(self._spec, max_episode_steps=self.windows)

    @spec.setter
    def spec(self, spec: gym.envs.registration.EnvSpec | None) -> None:
        self._spec = spec

    def _take(self, task: Task) -> None:
        """Let a task be the episode's."""
        self._task = task
        self._picture = None  # of another scenario
        self.scenario, self.interval_s = task.scenario, task.interval_s
        self.batch_sizes, self.thresholds = task.batch_sizes, task.thresholds

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, float]]:
        """Start the next episode; see the class for `seed` and `options`."""
        super().reset(seed=seed)
        split = split_of(options)
        if seed is not None or self._seed is None:
            return self.begin(int(self.np_random_seed) if seed is None else seed, split, 0)
        return self.begin(self._seed, split, self._episode + 1)

    def begin(self, seed: int, split: str, episode: int) -> tuple[Observation, dict[str, float]]:
        """Start an episode of the stream of a seed, by its number: what `reset` does, for who counts them."""
        self._whole, self._actions = False, []
        self._seed, self._split, self._episode = seed, split, episode
        self._restore()
        return self._result(self._task.nothing)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, float]]:
        """Put an action in force for one window and return what it brought.

        A step that is interrupted has not happened: the next one begins where it did.
        """
        if self._engine is None:
            raise RuntimeError("call reset before step")
        if len(self._actions) >= self.windows:
            raise RuntimeError("the episode is over: call reset")
        chosen = self._checked(action)
        if not self._whole:
            self._restore()
        self._whole = False
        window = self._run(len(self._actions), chosen)
        self._actions.append(chosen)
        self._whole = True
        observation, info = self._result(window)
        reward = self._task.reward(window)
        return observation, reward, False, len(self._actions) >= self.windows, info

    def finish(self) -> Records:
        """Let the queries still in flight at the episode's end complete, and return the records of all its queries."""
        if self._engine is None or len(self._actions) < self.windows:
            raise RuntimeError("the episode is not over: step until it is truncated")
        engine = self.engine
        self._whole = False
        engine.drain()
        self._whole = True
        return engine.records()

    def render(self) -> Any:
        """The windows so far: a few lines ("ansi"), or a picture (height, width, 3) uint8 ("rgb_array")."""
        if self.render_mode is None:
            gym.logger.warn("render needs a render_mode: give it to gymnasium.make")
            return None
        if self._engine is None:
            raise RuntimeError("call reset before render")
        if not self._whole:
            self._restore()
        if self.render_mode == "ansi":
            return self._described()
        if self._picture is None:  # of a copy
            self._picture = self._drawn()
        return self._picture.draw(self._frames, self.windows)

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
        if not self._whole:
            self._restore()
        return self._engine

    def _described(self) -> str:
        return describe(self.scenario, self._frames, self.windows)

    def _drawn(self) -> Picture:
        ladders = {name: self._task.ladders[name] for name in self._task.controls}
        return Picture(self._task.scenario, self._task.interval_s, ladders)

    def _checked(self, action: Any) -> Any:
        """The action as indices, which is cheaper than the action space's own check; a task's own as it is."""
        if not self._task.by_ladders:
            if self.action_space.contains(action):
                return copy.deepcopy(action)
            raise InputError("action", action, f"must be in {self.action_space}")
        try:
            given = np.asarray(action)
        except ValueError:  # lists of several lengths
            raise InputError("action", action, f"must be in {self.action_space}") from None
        if given.shape == (len(self._levels),) and given.dtype.kind in "iu":
            chosen = tuple(given.tolist())
            if all(0 <= index < levels for index, levels in zip(chosen, self._levels, strict=True)):
                return chosen
        raise InputError("action", action, f"must be in {self.action_space}")

    def _episode_key(self) -> tuple[int, str, int]:
        if self._seed is None:
            raise RuntimeError("call reset first")
        return self._seed, self._split, self._episode

    def _restore(self) -> None:
        """Start the episode and run its actions so far: all of it follows from scenario, seed and actions."""
        self._whole = False
        self._start()
        for index, chosen in enumerate(self._actions):
            self._run(index, chosen)
        self._whole = True

    def _start(self) -> None:
        self.close()
        self._frames = []
        task = self._tasks.task_of(*self._episode_key())
        if task is not self._task:
            self._take(task)
        self._setting = self._task.start
        self._opened = self._task.open(*self._episode_key(), self.windows)
        self._engine = self._make_engine(self._opened.start())

    def _make_engine(self, traffic: Traffic) -> Engine:
        """The node at time 0."""
        return make_engine(self.scenario, traffic, self.engine_name)

    def _run(self, index: int, chosen: Any) -> Window:
        assert self._engine is not None
        assert self._opened is not None
        setting = self._task.decode_action(chosen, self._setting)
        if not self._task.by_ladders:
            check_setting(self.scenario, setting)
        self._setting = setting
        ahead = self._opened.ahead(index)
        if ahead is not None:
            self._engine.expect(ahead)
        begin_s, end_s = index * self.interval_s, (index + 1) * self.interval_s
        window = self._engine.run_window(setting, begin_s, end_s)
        self._opened.on_window(window)
        if self.render_mode is not None:
            self._frames.append(Frame(window, setting))
        return window

    def _result(self, window: Window) -> tuple[Observation, dict[str, float]]:
        assert self._opened is not None
        places, seen = self._task.normalised(self._setting), self._opened.context_features(len(self._actions))
        info = self._task.info(window, self._setting.numbers) | self._opened.facts()
        return self._task.observe(window, places, seen), {name: float(value) for name, value in info.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the engine, which `__setstate__` rebuilds."""
        without: dict[str, Any] = {"_engine": None, "_opened": None, "_picture": None, "_frames": []}
        return self.__dict__ | without | {"_started": self._engine is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        started = state.pop("_started")
        self.__dict__.update(state)
        if started:
            self._restore()
