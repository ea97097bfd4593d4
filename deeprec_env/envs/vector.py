"""The environments, many at once: nodes stepped in compiled code, threads over environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from deeprec_env.arguments import whole
from deeprec_env.cores import usable_cores
from deeprec_env.envs.capacity_task import CapacityTask
from deeprec_env.envs.pipeline_task import PipelineTask
from deeprec_env.envs.serving_task import ServingTask
from deeprec_env.envs.serving_v2_task import ServingV2Task
from deeprec_env.envs.task import Episode, Normalised, Task, split_of
from deeprec_env.envs.task_source import OneTask, ScenarioSource, TaskSource, check_alike, check_count, task_sources
from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.setting import Setting, SettingNumbers, numbers_of
from deeprec_env.simulation.batched_nodes import BatchedNodes
from deeprec_env.simulation.checks import check_setting
from deeprec_env.simulation.engines import BATCH, engine_kind
from deeprec_env.simulation.windows import Window, width

Observations = NDArray[np.float32]
T = TypeVar("T")


class NodeVectorEnv(gym.vector.VectorEnv[Observations, NDArray[np.int64], NDArray[Any]]):
    """`num_envs` environments like `NodeEnv` in one object: the same results with the same seeds, several times faster.

    Spaces, rewards, infos and `reset`'s options are those of the single environment, batched; `reset(seed=S)` gives S,
    S + 1, ... to the environments. `scenario` may be a list, one for each environment, and their nodes may differ in
    all but the lengths of their ladders, what is observed of them and the length of an episode. All episodes end in the
    same step. `autoreset_mode` says when the next (training) ones start: in that step (`AutoresetMode.SAME_STEP`, the
    default: the observations are theirs, and `infos` holds the last ones as `final_obs` and `final_info`), or in the
    one after it, whose actions do nothing and whose rewards are 0 (`NEXT_STEP`). `threads` (default: the cores this
    process may use) share the environments. The attribute `windows` is the length of an episode; set before `reset`, it
    makes episodes longer or shorter. `scenarios` holds those of the present episodes. There are no pictures of it:
    `render_mode` must be None.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    _workers: ThreadPoolExecutor | None = None  # of the class: Gymnasium 1.1 closes what was refused half-made, too

    def __init__(
        self,
        num_envs: int,
        tasks: Task | Sequence[TaskSource],
        engine: str,
        threads: int | None,
        render_mode: str | None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        """`tasks`: one for all, or a source of tasks for each environment, from `task_sources`."""
        whole("threads", 1 if threads is None else threads, 1)
        engine_kind(engine, BATCH)
        if render_mode is not None:
            raise InputError("render_mode", render_mode, "must be None")
        self.render_mode = None
        self.metadata = type(self).metadata | {"autoreset_mode": _autoreset_mode(autoreset_mode)}
        self._starts_next_step = self.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        self.num_envs = check_count(num_envs)
        self._sources = [OneTask(tasks)] * num_envs if isinstance(tasks, Task) else list(tasks)
        self._take([source.first for source in self._sources])
        task = self._task
        self.scenario = task.scenario
        self.single_action_space, self.single_observation_space = task.action_space, task.observation_space
        self.action_space = batch_space(task.action_space, num_envs)
        self.observation_space = batch_space(task.observation_space, num_envs)
        self.batch_sizes, self.thresholds = task.batch_sizes, task.thresholds
        self.windows = task.windows
        self._seeds: list[int] | None = None
        self._split, self._episode, self._step = "train", 0, -1
        self._over = False  # the episodes are, and the next step starts others
        self._opened: list[Episode] = []
        self._in_force: list[Setting] = []  # of a task that decodes actions itself
        parts = np.array_split(np.arange(num_envs), min(num_envs, threads or usable_cores()))
        slices = [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
        self._parts = [(part, BatchedNodes(self.scenarios[part])) for part in slices]

    def _take(self, tasks: Sequence[Task]) -> None:
        """Let these be the tasks of the episodes, one for each environment."""
        self._each, self._task = list(tasks), tasks[0].beside(tasks)
        self.scenarios = [task.scenario for task in tasks]
        self._interval_s = np.array([task.interval_s for task in tasks])
        self._start_settings: Floats = np.array([task.start.numbers for task in tasks])
        self._start_places = Normalised(*np.array([task.normalised(task.start) for task in tasks]).T)
        # By environment and index on the ladders: the numbers of the levels, and normalised for the observation.
        self._levels, self._normalised = {}, {}
        for name in tasks[0].controls:
            self._levels[name], self._normalised[name] = (
                np.array([task.levels[name][kind] for task in tasks]) for kind in range(2)
            )
        self._shapes = [(len(scenario.stages), len(scenario.planned_stages)) for scenario in self.scenarios]
        self._shape = self._shapes[0] if len(set(self._shapes)) == 1 else (0, 0)  # what is there in all

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start the next episode in every environment; `seed` S gives S, S + 1, ... to them, a list one to each."""
        super().reset(seed=seed if isinstance(seed, int) else None)
        self._split = split_of(options)
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is None and self._seeds is None:
            seeds = [None] * self.num_envs
        if seeds is None:
            self._episode += 1
        else:
            if isinstance(seeds, str) or not isinstance(seeds, Sequence) or len(seeds) != self.num_envs:
                raise InputError("seed", seed, f"must be one for each of {self.num_envs} environments")
            self._seeds = [int(self.np_random.integers(2**31)) if given is None else given for given in seeds]
            self._episode = 0
        return self._start()

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observations, Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Put an action (num_envs, controls) in force everywhere for one window and return what it brought."""
        if self._step < 0:
            raise RuntimeError("call reset before step, and after one that was interrupted")
        nowhere = np.zeros(self.num_envs, dtype=np.bool_)
        if self._over:
            observations, infos = self._start_after_the_last()
            return observations, np.zeros(self.num_envs), nowhere, nowhere.copy(), infos
        task = self._task
        settings, places = (self._by_ladders if task.by_ladders else self._by_task)(actions)
        step, self._step = self._step, -1  # an interrupt leaves the nodes at different times
        begin_s, end_s = step * self._interval_s, (step + 1) * self._interval_s

        def run(part: slice, nodes: BatchedNodes) -> Floats:
            ahead = [episode.ahead(step) for episode in self._opened[part]]
            known = [traffic for traffic in ahead if traffic is not None]
            if known:
                nodes.expect(known)
            return nodes.run_window(settings[part], begin_s[part], end_s[part])

        windows = self._spread(run)
        each = self._windows_of([row for part in windows for row in part.tolist()])
        for episode, window in zip(self._opened, each, strict=True):
            episode.on_window(window)
        self._step = step + 1
        rewards = np.array([task.reward(window) for task, window in zip(self._each, each, strict=True)])
        stages, plans = self._shape
        columns = Window.of(np.concatenate([part[:, : width(stages, plans)] for part in windows]).T.copy(), stages)
        observations = task.observe(columns, places, self._context_features())
        infos = self._infos(columns, settings)
        over = self._step >= self.windows
        if over and self._starts_next_step:
            self._over = True
        elif over:
            last = {"final_obs": _one_by_one(observations), "final_info": infos} | {
                f"_{name}": np.ones(self.num_envs, dtype=np.bool_) for name in ("final_obs", "final_info")
            }
            observations, infos = self._start_after_the_last()
            infos |= last
        return observations, rewards, nowhere, np.full(self.num_envs, over), infos

    def close_extras(self, **kwargs: Any) -> None:
        """Release the threads."""
        if self._workers is not None:
            self._workers.shutdown()
            self._workers = None

    def _start_after_the_last(self) -> tuple[Observations, dict[str, Any]]:
        """The episode after the one that is over."""
        self._episode += 1
        self._split = "train"  # as `reset` without options has it
        return self._start()

    def _start(self) -> tuple[Observations, dict[str, Any]]:
        """The next episode of every environment, an idle node with the scenario's settings."""
        assert self._seeds is not None
        self._step, self._over = -1, False  # until all have started
        seeds = self._seeds
        tasks = [
            source.task_of(seed, self._split, self._episode) for source, seed in zip(self._sources, seeds, strict=True)
        ]
        if any(task is not before for task, before in zip(tasks, self._each, strict=True)):
            for task in tasks[1:]:
                check_alike("scenario", tasks[0], task)
            self._take(tasks)

        def start(part: slice, nodes: BatchedNodes) -> list[Episode]:
            opened = [
                task.open(seed, self._split, self._episode, self.windows)
                for task, seed in zip(tasks[part], seeds[part], strict=True)
            ]
            nodes.start([episode.start() for episode in opened], self.scenarios[part])
            return opened

        self._opened = [episode for opened in self._spread(start) for episode in opened]
        self._step = 0
        self._in_force = [task.start for task in self._each]
        stages, plans = self._shape
        columns = Window.of(np.zeros((width(stages, plans), self.num_envs)), stages)
        observations = self._task.observe(columns, self._start_places, self._context_features())
        return observations, self._infos(columns, self._start_settings)

    def _by_ladders(self, actions: NDArray[np.int64]) -> tuple[Floats, Normalised]:
        """The settings (num_envs, controls) of indices on the ladders, and where they stand on them."""
        try:
            given = np.asarray(actions)
        except ValueError:  # lists of several lengths
            raise InputError("action", actions, f"must be in {self.action_space}") from None
        if given.dtype.kind not in "iu" or not self.action_space.contains(given.astype(np.int64)):
            raise InputError("action", actions, f"must be in {self.action_space}")
        rows = np.arange(self.num_envs)
        settings, places = self._start_settings.copy(), {}
        for name, index in zip(self._task.controls, given.T, strict=True):
            levels, normalised = self._levels[name][rows, index], self._normalised[name][rows, index]
            for position, number in enumerate(numbers_of(name)):
                settings[:, SettingNumbers._fields.index(number)] = levels[:, position]
                places[number] = normalised[:, position]
        return settings, self._start_places._replace(**places)

    def _by_task(self, actions: Any) -> tuple[Floats, Normalised]:
        """The same of actions that the tasks decode themselves, one environment after the other."""
        if not self.action_space.contains(actions):
            raise InputError("action", actions, f"must be in {self.action_space}")
        given = zip(self._each, iterate(self.action_space, actions), self._in_force, strict=True)
        decoded = [task.decode_action(action, in_force) for task, action, in_force in given]
        for scenario, setting in zip(self.scenarios, decoded, strict=True):
            check_setting(scenario, setting)
        self._in_force = decoded
        places = [task.normalised(setting) for task, setting in zip(self._each, decoded, strict=True)]
        return np.array([setting.numbers for setting in decoded]), Normalised(*map(np.array, zip(*places, strict=True)))

    def _windows_of(self, rows: list[list[float]]) -> list[Window]:
        """Every node's window, of its own stages and plans."""
        pairs = zip(rows, self._shapes, strict=True)
        return [Window.of(row[: width(stages, plans)], stages) for row, (stages, plans) in pairs]

    def _infos(self, columns: Window, settings: Floats) -> dict[str, Any]:
        infos = self._task.info(columns, SettingNumbers(*settings.T))
        facts = [episode.facts() for episode in self._opened]
        infos |= {name: np.array([of_one[name] for of_one in facts]) for name in facts[0]}
        infos = {name: value if np.ndim(value) else np.full(self.num_envs, value) for name, value in infos.items()}
        return infos | {f"_{name}": np.ones(self.num_envs, dtype=np.bool_) for name in infos}

    def _context_features(self) -> Floats:
        """The episodes' entries of the observations."""
        return np.array([episode.context_features(self._step) for episode in self._opened])

    def _spread(self, work: Callable[[slice, BatchedNodes], T]) -> list[T]:
        """Results of `work` on each part of the environments, all at the same time."""
        if self._workers is None and len(self._parts) > 1:
            self._workers = ThreadPoolExecutor(len(self._parts) - 1)
        others = [self._workers.submit(work, *part) for part in self._parts[1:]] if self._workers else []
        try:
            return [work(*self._parts[0]), *(other.result() for other in others)]
        finally:
            wait(others)  # after an interrupt too: nothing works on the nodes after our back

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the threads."""
        return self.__dict__ | {"_workers": None}


class ServingVectorEnv(NodeVectorEnv):
    """`ServingEnv`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Serving-v1", num_envs=64)`."""

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioSource | Sequence[ScenarioSource] = "dlrm-rmc1",
        engine: str = "compiled",
        reward: str = "tail",
        threads: int | None = None,
        render_mode: str | None = None,
        ladders: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        make = partial(ServingTask, reward=reward, ladders=ladders)
        tasks = task_sources(scenario, num_envs, make)
        super().__init__(num_envs, tasks, engine, threads, render_mode, autoreset_mode)


class ServingV2VectorEnv(NodeVectorEnv):
    """`ServingV2Env`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Serving-v2", num_envs=64)`."""

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioSource | Sequence[ScenarioSource] = "dlrm-rmc1",
        engine: str = "compiled",
        reward: str = "tail",
        threads: int | None = None,
        render_mode: str | None = None,
        ladders: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        make = partial(ServingV2Task, reward=reward, ladders=ladders)
        tasks = task_sources(scenario, num_envs, make)
        super().__init__(num_envs, tasks, engine, threads, render_mode, autoreset_mode)


class CapacityVectorEnv(NodeVectorEnv):
    """`CapacityEnv`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Capacity-v0", num_envs=64)`."""

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioSource | Sequence[ScenarioSource] = "dlrm-rmc1",
        engine: str = "compiled",
        reward: str = "carried",
        threads: int | None = None,
        render_mode: str | None = None,
        ladders: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        make = partial(CapacityTask, reward=reward, ladders=ladders)
        tasks = task_sources(scenario, num_envs, make)
        super().__init__(num_envs, tasks, engine, threads, render_mode, autoreset_mode)


class PipelineVectorEnv(NodeVectorEnv):
    """`PipelineEnv`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Pipeline-v0", num_envs=64)`."""

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioSource | Sequence[ScenarioSource] = "recpipe-cpu",
        engine: str = "compiled",
        reward: str = "quality",
        threads: int | None = None,
        render_mode: str | None = None,
        ladders: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        make = partial(PipelineTask, reward=reward, ladders=ladders)
        tasks = task_sources(scenario, num_envs, make)
        super().__init__(num_envs, tasks, engine, threads, render_mode, autoreset_mode)


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    able = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)
    if mode not in (*able, *(each.value for each in able)):
        allowed = " or ".join(f"{each} ({each.value!r})" for each in able)
        raise InputError("autoreset_mode", getattr(mode, "value", mode), f"must be {allowed}")
    return AutoresetMode(mode)


def _one_by_one(observations: Observations) -> NDArray[Any]:
    """An array of objects, one observation each, as Gymnasium gives final observations."""
    each = np.empty(len(observations), dtype=object)
    each[:] = list(observations)
    return each
