"""The environments, many at once: nodes stepped in compiled code, threads over environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from deeprec_env.arguments import whole
from deeprec_env.cores import usable_cores
from deeprec_env.envs.capacity_task import CapacityTask
from deeprec_env.envs.pipeline_task import PipelineTask
from deeprec_env.envs.serving_task import ServingTask
from deeprec_env.envs.serving_v2_task import ServingV2Task
from deeprec_env.envs.side_by_side import Controls, Episodes, Windows, masked
from deeprec_env.envs.task import Episode, Normalised, Task, split_of
from deeprec_env.envs.task_source import OneTask, ScenarioSource, TaskSource, check_alike, check_count, task_sources
from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.simulation.batched_nodes import BatchedNodes
from deeprec_env.simulation.engines import BATCH, engine_kind

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
        task = self._sources[0].first
        self.scenario = task.scenario
        self.single_action_space, self.single_observation_space = task.action_space, task.observation_space
        self.action_space = batch_space(task.action_space, num_envs)
        self.observation_space = batch_space(task.observation_space, num_envs)
        self.batch_sizes, self.thresholds = task.batch_sizes, task.thresholds
        self.windows = task.windows
        self._take([source.first for source in self._sources])
        self._seeds: list[int] | None = None
        self._split, self._episode, self._step = "train", 0, -1
        self._over = False  # the episodes are, and the next step starts others
        self._episodes = Episodes([])
        parts = np.array_split(np.arange(num_envs), min(num_envs, threads or usable_cores()))
        slices = [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
        self._parts = [(part, self._nodes_of(part)) for part in slices]

    def _take(self, tasks: Sequence[Task]) -> None:
        """Let these be the tasks of the episodes, one for each environment."""
        self._each, self._task = list(tasks), tasks[0].beside(tasks)
        self.scenarios = [task.scenario for task in tasks]
        self._interval_s = np.array([task.interval_s for task in tasks])
        self._shapes = [(len(scenario.stages), len(scenario.planned_stages)) for scenario in self.scenarios]
        self._controls = Controls(tasks, self.action_space)

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
        observations, rewards, infos = self._stepped(actions)
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

    def _nodes_of(self, part: slice) -> BatchedNodes:
        """What runs the nodes of some of the environments."""
        return BatchedNodes(self.scenarios[part])

    def _stepped(self, actions: NDArray[np.int64]) -> tuple[Observations, Floats, dict[str, Any]]:
        """Observations, rewards and infos of a window under these actions."""
        settings, places = self._controls.decode(actions)
        step, self._step = self._step, -1  # an interrupt leaves the nodes at different times
        begin_s, end_s = step * self._interval_s, (step + 1) * self._interval_s

        def run(part: slice, nodes: BatchedNodes) -> Floats:
            coming = self._episodes.ahead(part, step)
            if coming:
                nodes.expect(coming)
            return nodes.run_window(settings[part], begin_s[part], end_s[part])

        windows = Windows(self._spread(run), self._shapes)
        self._episodes.on_windows(windows)
        self._step = step + 1
        rewards = self._rewards(windows)
        observations, infos = self._seen(windows, settings, places)
        return observations, rewards, infos

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

        self._episodes = Episodes([episode for opened in self._spread(start) for episode in opened])
        self._step = 0
        controls = self._controls
        controls.restart()
        return self._seen(Windows.before_the_first(self._shapes), controls.start, controls.start_places)

    def _rewards(self, windows: Windows) -> Floats:
        if self._task.rewards_arrays:
            return self._task.reward_of_each(windows.columns)
        return np.array([task.reward(window) for task, window in zip(self._each, windows.each, strict=True)])

    def _seen(self, windows: Windows, settings: Floats, places: Normalised) -> tuple[Observations, dict[str, Any]]:
        """Observations and infos after a window."""
        task, columns = self._task, windows.columns
        observations = task.observe(columns, places, self._episodes.context_features(self._step))
        infos = task.info(columns, SettingNumbers(*settings.T)) | self._episodes.facts()
        return observations, masked(infos, self.num_envs)

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


class _ScenarioVectorEnv(NodeVectorEnv):
    """Made of scenarios, with the keywords of the single environment; `reward` None: the first of the task's."""

    task: ClassVar[type[Task]]
    default: ClassVar[str] = "dlrm-rmc1"

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioSource | Sequence[ScenarioSource] | None = None,
        engine: str = "compiled",
        reward: str | None = None,
        threads: int | None = None,
        render_mode: str | None = None,
        ladders: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        chosen = next(iter(self.task.rewards)) if reward is None else reward
        make = partial(self.task, reward=chosen, ladders=ladders)
        sources = task_sources(self.default if scenario is None else scenario, num_envs, make)
        super().__init__(num_envs, sources, engine, threads, render_mode, autoreset_mode)


class ServingVectorEnv(_ScenarioVectorEnv):
    """`ServingEnv`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Serving-v1", num_envs=64)`."""

    task = ServingTask


class ServingV2VectorEnv(_ScenarioVectorEnv):
    """`ServingV2Env`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Serving-v2", num_envs=64)`."""

    task = ServingV2Task


class CapacityVectorEnv(_ScenarioVectorEnv):
    """`CapacityEnv`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Capacity-v0", num_envs=64)`."""

    task = CapacityTask


class PipelineVectorEnv(_ScenarioVectorEnv):
    """`PipelineEnv`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Pipeline-v0", num_envs=64)`."""

    task, default = PipelineTask, "recpipe-cpu"


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
