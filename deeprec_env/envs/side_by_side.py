"""What many environments have in common: their windows, episodes and actions as arrays, (environments, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from deeprec_env.envs.task import Episode, Normalised, Task
from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.setting import Setting, SettingNumbers, numbers_of
from deeprec_env.simulation.checks import check_setting
from deeprec_env.simulation.windows import Window, width
from deeprec_env.workload.stream import Traffic


class Windows:
    """What every node measured in a window."""

    def __init__(self, parts: Sequence[Floats], shapes: Sequence[tuple[int, int]]) -> None:
        """`parts`: rows as `BatchedNodes.run_window` returns them, valid as long; `shapes`: nodes' stages and plans."""
        self._parts, self._shapes = parts, shapes
        stages, plans = shapes[0] if len(set(shapes)) == 1 else (0, 0)  # what is there in all
        rows = np.concatenate([part[:, : width(stages, plans)] for part in parts])
        self.columns = Window.of(rows.T.copy(), stages)
        """One `Window` of arrays."""

    @classmethod
    def before_the_first(cls, shapes: Sequence[tuple[int, int]]) -> Windows:
        """Nothing has happened."""
        return cls([np.zeros((len(shapes), max(width(*shape) for shape in shapes)))], shapes)

    @cached_property
    def each(self) -> list[Window]:
        """One `Window` for each node, of its own stages and plans; for who can't take arrays."""
        rows = [row for part in self._parts for row in part.tolist()]
        pairs = zip(rows, self._shapes, strict=True)
        return [Window.of(row[: width(stages, plans)], stages) for row, (stages, plans) in pairs]


class Episodes:
    """Episodes that run at the same time; who has nothing to say of its own, or the same as others, is not asked."""

    def __init__(self, opened: Sequence[Episode]) -> None:
        self._opened = list(opened)
        self._known = all(type(episode).ahead is Episode.ahead for episode in opened)
        self._deaf = all(type(episode).on_window is Episode.on_window for episode in opened)
        self._plain = all(type(episode).facts is Episode.facts for episode in opened)
        clocks = [episode.clock if episode.clock is not None else (place,) for place, episode in enumerate(opened)]
        first = dict(zip(reversed(clocks), reversed(self._opened), strict=True))
        self._asked = list(first.values())
        self._whose = np.array([list(first).index(clock) for clock in clocks])

    def ahead(self, part: slice, step: int) -> list[Traffic]:
        """The arrivals of a window of some environments; none where they are known since the start."""
        if self._known:
            return []
        coming = [episode.ahead(step) for episode in self._opened[part]]
        return [traffic for traffic in coming if traffic is not None]

    def on_windows(self, windows: Windows) -> None:
        """Let the traffic answer to what has been measured."""
        if not self._deaf:
            for episode, window in zip(self._opened, windows.each, strict=True):
                episode.on_window(window)

    def context_features(self, step: int) -> Floats:
        """The episodes' entries of the observations, (environments, k)."""
        asked = np.array([episode.context_features(step) for episode in self._asked])
        features: Floats = asked[self._whose]
        return features

    def facts(self) -> dict[str, Floats]:
        """The episodes' keys of the infos."""
        if self._plain:
            return {}
        facts = [episode.facts() for episode in self._opened]
        return {name: np.array([of_one[name] for of_one in facts]) for name in facts[0]}


class Controls:
    """Actions as settings: `SettingNumbers` as rows, and where these stand on the ladders."""

    def __init__(self, tasks: Sequence[Task], action_space: gym.Space[Any]) -> None:
        self._tasks, self._space = tasks, action_space
        self.start: Floats = np.array([task.start.numbers for task in tasks])
        """The settings at an episode's start, (environments, numbers)."""
        self._start_places: Floats = np.array([task.normalised(task.start) for task in tasks])
        self.restart()
        self._rows = np.arange(len(tasks))
        # By control: which numbers it decides, in both orders, and by environment and index on the ladder what these
        # are and where they stand.
        self._levels: list[tuple[list[int], Floats, list[int], Floats]] = []
        for name in tasks[0].controls if tasks[0].by_ladders else ():
            decided = numbers_of(name)
            numbers, places = (np.array([task.levels[name][kind] for task in tasks]) for kind in range(2))
            at, places_at = (
                [fields.index(number) for number in decided] for fields in (SettingNumbers._fields, Normalised._fields)
            )
            self._levels.append((at, numbers, places_at, places))

    def restart(self) -> None:
        """Let an episode begin."""
        self._in_force = [task.start for task in self._tasks]  # for those that decode actions themselves

    @property
    def start_places(self) -> Normalised:
        """Where the settings at an episode's start stand on the ladders."""
        return Normalised(*self._start_places.T)

    def decode(self, actions: Any) -> tuple[Floats, Normalised]:
        """The settings (environments, numbers) of actions, and their places; `InputError` for what is no action."""
        return self._by_ladders(actions) if self._tasks[0].by_ladders else self._by_tasks(actions)

    def _by_ladders(self, actions: Any) -> tuple[Floats, Normalised]:
        try:
            given = np.asarray(actions)
        except ValueError:  # lists of several lengths
            raise self._refused(actions) from None
        if given.dtype.kind not in "iu" or not self._space.contains(given.astype(np.int64)):
            raise self._refused(actions)
        settings, places = self.start.copy(), self._start_places.copy()
        for (at, numbers, places_at, levels), index in zip(self._levels, given.T, strict=True):
            settings[:, at] = numbers[self._rows, index]
            places[:, places_at] = levels[self._rows, index]
        return settings, Normalised(*places.T)

    def _by_tasks(self, actions: Any) -> tuple[Floats, Normalised]:
        """One environment after the other."""
        if not self._space.contains(actions):
            raise self._refused(actions)
        given = zip(self._tasks, iterate(self._space, actions), self._in_force, strict=True)
        decoded: list[Setting] = [task.decode_action(action, in_force) for task, action, in_force in given]
        for task, setting in zip(self._tasks, decoded, strict=True):
            check_setting(task.scenario, setting)
        self._in_force = decoded
        places = [task.normalised(setting) for task, setting in zip(self._tasks, decoded, strict=True)]
        return np.array([setting.numbers for setting in decoded]), Normalised(*np.array(places).T)

    def _refused(self, actions: Any) -> InputError:
        return InputError("action", actions, f"must be in {self._space}")


def masked(infos: dict[str, Any], count: int) -> dict[str, NDArray[Any]]:
    """Infos of `count` environments as Gymnasium has them: arrays, and by `_name` who has such an entry: all do."""
    arrays = {name: value if np.ndim(value) else np.full(count, value) for name, value in infos.items()}
    masks = np.ones((len(arrays), count), dtype=np.bool_)
    return arrays | {f"_{name}": mask for name, mask in zip(arrays, masks, strict=True)}
