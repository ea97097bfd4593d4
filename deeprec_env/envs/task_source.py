"""Which task an episode has: always the same, or that of a scenario drawn for it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.arguments import whole
from deeprec_env.envs.task import SCENARIO_CHILD, AnyScenario, Task, episode_child
from deeprec_env.errors import InputError
from deeprec_env.memory import check_memory
from deeprec_env.plugins import load_plugin
from deeprec_env.scenario.by_identity import ByIdentity
from deeprec_env.scenario.control import FURTHER_LADDERS
from deeprec_env.scenario.schema import Scenario

DrawScenario = Callable[[np.random.Generator], Scenario]
"""Draws an episode's scenario, from a pool that was loaded once: nothing is validated again."""

ScenarioSource = AnyScenario | DrawScenario
"""A scenario, or a function that draws one (also as `module:function`)."""

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")

_BYTES_PER_ENV = 600_000
"""About what an environment of many holds before its first query: room for 1024 queries and 8192 requests."""

_LADDERS = {"batch_size": "control.batch_sizes", "threshold": "control.thresholds", "plan": "plans"} | {
    name: f"control.{ladder}" for name, ladder in FURTHER_LADDERS.items()
}


class TaskSource(ABC):
    """Gives every episode its task. All of them have the spaces, and the length of an episode, of the `first`."""

    first: Task

    @abstractmethod
    def task_of(self, seed: int, split: str, episode: int) -> Task:
        """The task of an episode."""


class OneTask(TaskSource):
    """The same task for every episode."""

    def __init__(self, task: Task) -> None:
        self.first = task

    def task_of(self, seed: int, split: str, episode: int) -> Task:
        """The task."""
        return self.first


class DrawnTasks(TaskSource):
    """The tasks of drawn scenarios. The generator is a child of the episode's seed, that of `first` has the seed 0.

    A task is made once for each `Scenario` object.
    """

    def __init__(self, draw: DrawScenario, make: Callable[[Scenario], Task]) -> None:
        self._draw, self._tasks = draw, ByIdentity(make)
        self.first = self._drawn(np.random.default_rng(0))

    def task_of(self, seed: int, split: str, episode: int) -> Task:
        """The task of the scenario that is drawn for an episode."""
        task = self._drawn(episode_child(seed, split, episode, SCENARIO_CHILD))
        check_alike("scenario", self.first, task)
        return task

    def _drawn(self, rng: np.random.Generator) -> Task:
        scenario = self._draw(rng)
        if not isinstance(scenario, Scenario):
            raise InputError("scenario", scenario, "must be a Scenario where a function draws it: see load_scenario")
        return self._tasks.of(scenario)


def task_source(scenario: ScenarioSource, make: Callable[[Any], Task]) -> TaskSource:
    """Where the tasks of an environment come from; `make` makes one of a scenario."""
    if isinstance(scenario, str) and _FUNCTION.fullmatch(scenario) and not Path(scenario).exists():
        scenario = load_plugin("scenario", "", scenario, callable, "a function of a generator")
    if callable(scenario):
        return DrawnTasks(scenario, make)
    if not isinstance(scenario, str | Path | Mapping | Scenario):
        raise InputError("scenario", scenario, "must be one, or a function that draws one; a list is for make_vec")
    return OneTask(make(scenario))


def task_sources(
    scenario: ScenarioSource | Sequence[ScenarioSource], count: int, make: Callable[[Any], Task]
) -> list[TaskSource]:
    """One source for each of `count` environments, whose tasks can be put side by side: of one scenario, or a list."""
    check_count(count)
    if isinstance(scenario, str) or not isinstance(scenario, Sequence):
        return [task_source(scenario, make)] * count
    if len(scenario) != count:
        raise InputError("scenario", f"{len(scenario)} scenarios", f"must be {count}, one for each environment")
    made: dict[Any, TaskSource] = {}  # a name or an object that comes again stands for the same task
    sources = []
    for each in scenario:
        key = each if isinstance(each, str | Path) else id(each)
        if key not in made:
            made[key] = task_source(each, make)
        sources.append(made[key])
    for position, source in enumerate(sources):
        check_alike(f"scenario.{position}", sources[0].first, source.first)
    return sources


def check_count(num_envs: Any, field: str = "num_envs") -> int:
    """How many environments; `InputError` for what is no number of them, or for more than there is memory for."""
    count = whole(field, num_envs, 1)
    check_memory(field, num_envs, count * _BYTES_PER_ENV)
    return count


def check_alike(field: str, first: Task, other: Task) -> None:
    """Raise `InputError` for a task whose spaces, or whose episodes' length, are not those of the first."""
    if other is first:
        return
    for name in first.controls:
        levels, others = first.ladders[name], other.ladders[name]
        if len(others) != len(levels):
            hint = (
                "; ladders='common' gives nodes without accelerator the full one"
                if name in ("threshold", "offload")
                else ""
            )
            raise InputError(
                f"{field}.{_LADDERS.get(name, name)}",
                list(others),
                f"must hold {len(levels)} levels, as in the first scenario, for the spaces to agree{hint}",
            )
    if other.fields != first.fields:
        pairs = zip_longest(other.fields, first.fields)
        observed, expected = next((one, two) for one, two in pairs if one != two)
        raise InputError(f"{field}.pipeline", observed, f"must have {expected} observed there, as the first scenario")
    if other.windows != first.windows:
        allowed = f"must have episodes of {first.windows}, as the first scenario: all of them end in one step"
        raise InputError(f"{field}.workload.arrivals", f"a day of {other.windows} windows", allowed)
