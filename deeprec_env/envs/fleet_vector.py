"""`FleetEnv`, many at once: threads over environments, whose fleets run in compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from deeprec_env.envs.fleet import FleetNodesEnv
from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.envs.side_by_side import masked
from deeprec_env.envs.task import Task
from deeprec_env.envs.task_source import ScenarioSource, task_sources
from deeprec_env.envs.vector import NodeVectorEnv, Observations
from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.arrays import all_rows

Started = tuple[Any, dict[str, float]]
Stepped = tuple[Any, float, bool, bool, dict[str, float]]


class FleetVectorEnv(NodeVectorEnv):
    """`FleetEnv`, many at once: `gymnasium.make_vec("deeprec_env:DeepRec/Fleet-v0", num_envs=16)`.

    As `NodeVectorEnv`; each fleet is an environment of its own, since one has queries enough to fill a step.
    """

    _envs: Sequence[FleetNodesEnv] = ()  # of the class, as the threads are

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioSource | Sequence[ScenarioSource] = "fleet-wnd",
        engine: str = "compiled",
        reward: str = "energy",
        threads: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        sources = task_sources(scenario, num_envs, partial(FleetTask, reward=reward))
        for source in sources:
            if not all_rows(source.first.scenario):
                allowed = "must be a row of numbers in many fleets at once; use vectorization_mode='sync'"
                raise InputError("latency", "of its own base_s", allowed)
        self._envs = [FleetNodesEnv(source) for source in sources]
        super().__init__(num_envs, sources, engine, threads, render_mode, autoreset_mode)

    def _take(self, tasks: Sequence[Task]) -> None:
        self._each, self._task = list(tasks), tasks[0]
        self.scenarios = [task.scenario for task in tasks]

    def _nodes_of(self, part: slice) -> Any:
        return self._envs[part]

    def _start(self) -> tuple[Observations, dict[str, Any]]:
        assert self._seeds is not None
        self._step, self._over = -1, False  # until all have started
        seeds = self._seeds

        def start(part: slice, envs: Any) -> list[Started]:
            begun = []
            for env, seed in zip(envs, seeds[part], strict=True):
                env.windows = self.windows
                begun.append(env.begin(seed, self._split, self._episode))
            return begun

        started = [each for begun in self._spread(start) for each in begun]
        self.scenarios = [env.scenario for env in self._envs]
        self._step = 0
        return np.stack([observation for observation, _ in started]), self._stacked([info for _, info in started])

    def _stepped(self, actions: Any) -> tuple[Observations, Floats, dict[str, Any]]:
        chosen = self._checked(actions)
        self._step, step = -1, self._step  # an interrupt leaves the fleets at different times

        def run(part: slice, envs: Any) -> list[Stepped]:
            return [env.step(action) for env, action in zip(envs, chosen[part], strict=True)]

        stepped = [each for part in self._spread(run) for each in part]
        self._step = step + 1
        rewards = np.array([reward for _, reward, *_ in stepped])
        return np.stack([each[0] for each in stepped]), rewards, self._stacked([each[4] for each in stepped])

    def _checked(self, actions: Any) -> NDArray[np.int64]:
        """Actions as indices; `InputError` before any fleet has stepped."""
        given = np.asarray(actions)
        levels: Any = self.single_action_space
        fits = given.shape == self.action_space.shape and given.dtype.kind in "iu"
        if not fits or not ((given >= 0) & (given < levels.nvec)).all():
            raise InputError("actions", actions, f"must be in {self.action_space}")
        return given.astype(np.int64)

    def _stacked(self, infos: Sequence[dict[str, float]]) -> dict[str, Any]:
        arrays = {name: np.array([info[name] for info in infos]) for name in infos[0]}
        return masked(arrays, self.num_envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Release the threads and the fleets."""
        super().close_extras(**kwargs)
        for env in self._envs:
            env.close()
