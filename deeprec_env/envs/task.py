"""What the environments have in common: a scenario's ladders, spaces, observations and infos, and their traffic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.arguments import choice
from deeprec_env.envs.observation import HIGHEST, observe
from deeprec_env.envs.rewards import OF_ARRAYS, Scale
from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.control import THRESHOLDS
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PREDICTED, Setting, SettingNumbers, numbers_of, threshold_number
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import SPLITS, Traffic, episode_seed

AnyScenario = str | Path | Mapping[str, Any] | Scenario


class Normalised(NamedTuple):
    """Where settings stand on their ladders, 0 to 1 (the plan: its index); of several nodes, arrays."""

    batch_size: Any
    threshold: Any
    plan: Any
    order: Any
    offload: Any
    admit_ms: Any


class Episode(ABC):
    """One episode's traffic: all of it known at the start, or window by window."""

    @abstractmethod
    def start(self) -> Traffic:
        """What is known at the start."""

    def ahead(self, window: int) -> Traffic | None:
        """The arrivals of a window that is about to begin; None where the start's hold them."""
        return None

    def on_window(self, window: Window) -> None:  # noqa: B027  (most traffic does not answer)
        """Let the traffic answer to a window that has been measured."""

    @property
    def clock(self) -> Hashable | None:
        """Episodes of the same clock have the same `context_features` at every step; None: nobody has this one's."""
        return None

    @abstractmethod
    def context_features(self, step: int) -> tuple[float, ...]:
        """The last entries of the observation, after `step` windows."""

    def facts(self) -> dict[str, float]:
        """The last keys of `info`."""
        return {}


class Task(ABC):
    """A scenario as a control problem; raises `InputError` for one that is none.

    `controls` names the settings that an action chooses, in its order, each by an index on its ladder; `fields` names
    the entries of its observation, `rewards` are functions of a window and a `Scale` by name, the default first,
    `windows` is the length of an episode, `scale_qps` the rate that rates are measured by.

    A task whose actions are no indices on ladders sets its own `action_space` and `decode_action`.

    With `ladders="common"` a node that has nothing to choose a threshold for takes the full ladder of thresholds (and
    of `offload`) and ignores what is chosen: the one that it starts with stays in force.

    `numbers` names the attributes that `observe`, `info` and rewards measure windows by, so that tasks can be put side
    by side.
    """

    numbers: tuple[str, ...] = ("sla_s", "sla_ms", "scale_qps", "mean_items", "full_w")
    controls: tuple[str, ...] = ("batch_size", "threshold")
    fields: tuple[str, ...]
    rewards: Mapping[str, Callable[[Window, Scale], float]]
    windows: int
    scale_qps: float

    def __init__(self, scenario: AnyScenario, reward: str, ladders: str | None = None) -> None:
        choice("reward", reward, self.rewards)
        if ladders is not None and not (isinstance(ladders, str) and ladders == "common"):
            raise InputError("ladders", ladders, "must be null or common")
        self._reward = self.rewards[reward]
        self.scenario = load_scenario(scenario)
        self.interval_s = self.scenario.control.interval_s
        self.sla_s, self.sla_ms = self.scenario.sla_s, self.scenario.sla_ms
        self.mean_items = self.scenario.workload.sizes.mean_items
        self.ladders = self.scenario.ladders
        both = any(len(stage.pools()) == 2 for stage in self.scenario.stages)
        full = (
            {"threshold": THRESHOLDS, "offload": (*THRESHOLDS, PREDICTED)} if ladders == "common" and not both else {}
        )
        self._ignored = {name: levels for name, levels in full.items() if self.ladders[name] == (None,)}
        self.ladders = self.ladders | self._ignored
        self.batch_sizes: tuple[int, ...] = self.ladders["batch_size"]
        self.thresholds: tuple[Threshold, ...] = self.ladders["threshold"]
        pools = [pool for stage in self.scenario.stages for pool in stage.pools().values()]
        self.full_w = sum(pool.busy_w for pool in pools)
        self.action_space: gym.Space[Any] = gym.spaces.MultiDiscrete(
            [len(self.ladders[name]) for name in self.controls]
        )
        self.observation_space = gym.spaces.Box(-1.0, HIGHEST, (len(self.fields),), np.float32)
        self._decoded: dict[tuple[int, ...], Setting] = {}  # by action: a step takes long enough
        self._places: dict[Setting, Normalised] = {}

    @cached_property
    def scale(self) -> Scale:
        """What rewards measure a window by."""
        return Scale(self.sla_s, self.full_w, self.scale_qps)

    @abstractmethod
    def open(self, seed: int, split: str, episode: int, windows: int) -> Episode:
        """An episode of `windows` windows."""

    def reward(self, window: Window) -> float:
        """The reward of a window."""
        return float(self._reward(window, self.scale))

    @property
    def rewards_arrays(self) -> bool:
        """Whether `reward_of_each` does what `reward` does: that is the task's own in no way."""
        return type(self).reward is Task.reward and self._reward in OF_ARRAYS

    def reward_of_each(self, windows: Window) -> Floats:
        """The rewards of several nodes' windows, given as one of arrays."""
        return np.asarray(self._reward(windows, self.scale))

    @cached_property
    def start(self) -> Setting:
        """The setting at an episode's start."""
        return self.scenario.setting

    @property
    def nothing(self) -> Window:
        """The window before the first."""
        return Window.empty(len(self.scenario.stages), len(self.scenario.planned_stages))

    def decode_action(self, action: Any, in_force: Setting) -> Setting:
        """The setting of an action, given by its indices; `in_force` is that of the window before."""
        indices = tuple(action)
        setting = self._decoded.get(indices)
        if setting is None:
            named = zip(self.controls, indices, strict=True)
            levels = {name: self._in_force(name, self.ladders[name][index]) for name, index in named}
            setting = self._decoded[indices] = self.start.at(**levels)
        return setting

    def _in_force(self, control: str, level: Any) -> Any:
        return self.start.level(control) if control in self._ignored else level

    @property
    def by_ladders(self) -> bool:
        """Whether actions are indices on the ladders of `controls`, and not the task's own."""
        return type(self).decode_action is Task.decode_action

    @property
    def choices(self) -> list[Any]:
        """What an action chooses from, as JSON holds it; an agent is of use where it is what it was trained on."""
        if not self.by_ladders:
            return [str(self.action_space)]
        named = self.ladders | ({"plan": self.scenario.plan_names} if self.scenario.plans else {})
        return [list(named[name]) for name in self.controls]

    def normalised(self, setting: Setting) -> Normalised:
        """Where a setting stands on the ladders, 0 to 1; plans have no order, theirs is the index."""
        found = self._places.get(setting)
        if found is None:
            places = {
                name: setting.plan if name == "plan" else _normalised(setting.level(name), self.ladders[name])
                for name in Normalised._fields
            }
            found = self._places[setting] = Normalised(**places)
        return found

    @cached_property
    def levels(self) -> dict[str, tuple[Floats, Floats]]:
        """By control and index on its ladder: what is put in force, as `numbers_of` it, (levels, k), and normalised.

        Normalised are the places on the ladders of those numbers, (levels, k), too.
        """
        found = {}
        for name in self.controls:
            settings = [self.start.at(**{name: self._in_force(name, level)}) for level in self.ladders[name]]
            decided = numbers_of(name)
            numbers = [[getattr(each.numbers, number) for number in decided] for each in settings]
            places = [[getattr(self.normalised(each), number) for number in decided] for each in settings]
            found[name] = np.array(numbers), np.array(places, dtype=np.float64)
        return found

    def beside(self, tasks: Sequence[Task]) -> Task:
        """This task for the windows of several nodes, each with a task of its own: `numbers` are arrays."""
        if all(task is self for task in tasks):
            return self
        several = copy(self)
        several.__dict__.pop("scale", None)  # of the numbers before
        for name in dict.fromkeys((*Task.numbers, *self.numbers)):
            setattr(several, name, np.array([getattr(task, name) for task in tasks]).T)
        return several

    def observe(self, window: Any, places: Normalised, seen: Any) -> NDArray[np.float32]:
        """The observation after a `Window`; of arrays for several nodes, one row for each. `seen`: the episode's."""
        return observe(
            window,
            places[:2],
            seen,
            sla_s=self.sla_s,
            scale_qps=self.scale_qps,
            mean_items=self.mean_items,
        )

    def info(self, window: Any, setting: SettingNumbers) -> dict[str, Any]:
        """`info` of a `Window` and its setting; of arrays for several nodes, arrays."""
        return {
            "p50_ms": window.p50_s * 1e3,
            "p95_ms": window.p95_s * 1e3,
            "p99_ms": window.p99_s * 1e3,
            "offered_qps": window.offered_qps,
            "completed_qps": window.completed_qps,
            "violation_rate": window.violation_rate,
            "batch_size": setting.batch_size,
            "threshold": setting.threshold,
            "cpu_utilisation": window.cpu_utilisation,
            "accelerator_utilisation": window.accelerator_utilisation,
            "backlog": window.backlog,
            "energy_j": window.energy_j,
            "sla_ms": self.sla_ms,
        }


OWN_CHILD, SCENARIO_CHILD = 4, 6
"""Children of an episode's seed, beside those of its stream of queries: what a task draws, and what its scenario is
drawn with."""


def episode_child(seed: int, split: str, episode: int, child: int = OWN_CHILD) -> np.random.Generator:
    """What is random in an episode beside its stream of queries, which has the first four children."""
    sequence = episode_seed(seed, split, episode)
    return np.random.default_rng(np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, child)))


def split_of(options: Mapping[str, Any] | None) -> str:
    """The split that `reset`'s options ask for; `InputError` if they are not understood."""
    if options is not None and not isinstance(options, Mapping):
        raise InputError("options", options, "must be a mapping that holds split alone")
    unknown = set(options or {}) - {"split"}
    if unknown:
        raise InputError("options", sorted(map(str, unknown)), "must hold split alone")
    return choice("split", (options or {}).get("split", "train"), SPLITS)


def _normalised(value: Any, ladder: tuple[Any, ...]) -> float:
    """Where a setting stands on its ladder, 0 to 1; off the ladder between its neighbours, and a word at -1."""
    if len(ladder) == 1:
        return 0.0
    if value in ladder:
        return ladder.index(value) / (len(ladder) - 1)
    if isinstance(value, str):
        return -1.0
    below = sum(threshold_number(level) < threshold_number(value) for level in ladder if not isinstance(level, str))
    return below / len(ladder)
