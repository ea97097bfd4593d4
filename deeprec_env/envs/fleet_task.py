"""The task of `FleetEnv`: settings of every group's nodes and how many of them are on, under a day of traffic."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.arguments import choice
from deeprec_env.envs.fleet_rewards import FLEET_REWARDS
from deeprec_env.envs.observation import HIGHEST
from deeprec_env.envs.rewards import Scale
from deeprec_env.envs.serving_task import GivenTraffic, ServingTask
from deeprec_env.envs.task import AnyScenario
from deeprec_env.errors import InputError
from deeprec_env.fleet.load import carried_qps, check_carried
from deeprec_env.fleet.setting import NODES, FleetSetting, check_steppable
from deeprec_env.fleet.window import FleetWindow, GroupWindow
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.checks import check_run_memory
from deeprec_env.workload.arrivals import Poisson
from deeprec_env.workload.diurnal import Diurnal

MOST_LEVELS = 65
"""Of a ladder of nodes; those of larger groups have equal steps."""

_WHOLE = ("p50", "p95", "p99", "violation_rate", "offered", "completed", "mean_items", "backlog", "power")
_GROUP = (
    "offered", "mean_items", "cpu_utilisation", "accelerator_utilisation", "p95", "p99", "backlog", "power",
    "serving", "starting", "draining", "batch_size", "threshold", NODES,
)  # fmt: skip


def nodes_ladder(count: int, fewest: int) -> tuple[int, ...]:
    """How many of `count` nodes may be on: every number from the fewest on, or `MOST_LEVELS` of them."""
    steps = min(MOST_LEVELS, count - fewest + 1)
    return tuple(np.unique(np.rint(np.linspace(fewest, count, steps)).astype(np.int64)).tolist())


class FleetTask(ServingTask):
    """Serve a day of traffic with as little energy as the target allows.

    `controls` are "GROUP.batch_size", "GROUP.threshold" and, unless the reward is `tail`, "GROUP.nodes", group by
    group. Raises `InputError` for a fleet that no settings let carry the highest rate of its day without bursts.
    """

    rewards = FLEET_REWARDS

    def __init__(self, scenario: AnyScenario, reward: str, ladders: str | None = None) -> None:
        # Nothing of `Task`'s own: what it says of one node holds of every group.
        choice("reward", reward, self.rewards)
        if ladders is not None:
            raise InputError("ladders", ladders, "must be left out: each group has its own")
        self._reward = self.rewards[reward]
        self.scenario = load_scenario(scenario)
        if self.scenario.fleet is None:
            raise InputError("fleet", None, "is needed: DeepRec/Fleet-v0 is about groups of nodes behind a router")
        check_steppable(self.scenario)
        self._check_carried()
        fleet, groups = self.scenario.fleet, self.scenario.group_scenarios
        self.interval_s = self.scenario.control.interval_s
        self.sla_s, self.sla_ms = self.scenario.sla_s, self.scenario.sla_ms
        self.mean_items = self.scenario.workload.sizes.mean_items
        self.batch_sizes, self.thresholds = (), ()  # those of the groups are in `ladders`
        self._names, self._counts = fleet.members.names, fleet.members.counts
        chosen = ("batch_size", "threshold") + ((NODES,) if reward != "tail" else ())
        fewest = int(fleet.router.every_group)
        self.ladders = {}
        for name, count, group in zip(self._names, self._counts, groups, strict=True):
            levels = group.ladders | {NODES: nodes_ladder(count, fewest)}
            self.ladders |= {f"{name}.{control}": levels[control] for control in ("batch_size", "threshold", NODES)}
        self.controls = tuple(f"{name}.{control}" for name in self._names for control in chosen)
        self.fields = (*_WHOLE, *(f"{name}.{field}" for name in self._names for field in _GROUP), "day_sin", "day_cos")
        self.action_space = gym.spaces.MultiDiscrete([len(self.ladders[name]) for name in self.controls])
        self.observation_space = gym.spaces.Box(-1.0, HIGHEST, (len(self.fields),), np.float32)
        self._node_w = [sum(pool.busy_w for s in group.stages for pool in s.pools().values()) for group in groups]
        self.full_w = float(np.dot(self._node_w, self._counts))
        self._node_qps = carried_qps(self.scenario)
        self.scale_qps = float(np.dot(self._node_qps, self._counts))
        self._take_day()

    def _check_carried(self) -> None:
        arrivals = self.scenario.workload.arrivals
        highest = arrivals.peak_qps if isinstance(arrivals, Diurnal) else arrivals.mean_qps
        check_carried(self.scenario.with_arrivals(Poisson(kind="poisson", qps=highest)))

    def open(self, seed: int, split: str, episode: int, windows: int) -> GivenTraffic:
        """An episode of `windows` windows."""
        stream, length_s = self.stream(seed, split, episode), windows * self.interval_s
        queries = round(stream.mean_qps * length_s)
        if queries > self._checked_queries:
            for group in self.scenario.group_scenarios:
                check_run_memory(group, queries, field="queries of an episode")
            self._checked_queries = queries
        return GivenTraffic(stream.draw_until(length_s), self.windows if self._has_day else None)

    @cached_property
    def scale(self) -> Scale:
        """What rewards measure a window by."""
        factor = math.inf if self.scenario.p99_factor is None else self.scenario.p99_factor
        return Scale(self.sla_s, self.full_w, self.scale_qps, p99_s=factor * self.sla_s)

    @cached_property
    def start(self) -> Any:
        """The settings of the file, all nodes on."""
        return FleetSetting.of(self.scenario)

    @property
    def nothing(self) -> FleetWindow:
        """The window before the first."""
        return FleetWindow.before_the_first(self._counts)

    @property
    def by_ladders(self) -> bool:
        """Whether actions are indices on the ladders of `controls`: they are."""
        return True

    def decode_action(self, action: Any, in_force: Any) -> Any:
        """The `FleetSetting` of an action, given by its indices."""
        levels = {name: self.ladders[name][index] for name, index in zip(self.controls, action, strict=True)}
        settings = tuple(
            setting.replace(batch_size=levels[f"{name}.batch_size"], threshold=levels[f"{name}.threshold"])
            for name, setting in zip(self._names, self.start.settings, strict=True)
        )
        nodes = tuple(
            levels.get(f"{name}.{NODES}", count) for name, count in zip(self._names, self._counts, strict=True)
        )
        return FleetSetting(self._names, settings, nodes)

    def action(self, settings: tuple[Setting, ...], nodes: tuple[int, ...]) -> NDArray[np.int64]:
        """The action of settings and numbers of nodes by group, the next level up where a number is off its ladder.

        `ValueError` for a setting that is off the ladders.
        """
        indices = []
        for name, setting, wanted in zip(self._names, settings, nodes, strict=True):
            for control in ("batch_size", "threshold"):
                indices.append(self.ladders[f"{name}.{control}"].index(setting.level(control)))
            if f"{name}.{NODES}" in self.controls:
                ladder = self.ladders[f"{name}.{NODES}"]
                indices.append(min(int(np.searchsorted(ladder, wanted)), len(ladder) - 1))
        return np.array(indices, dtype=np.int64)

    def normalised(self, setting: Any) -> Any:
        """(groups, 3) where batch size, threshold and nodes stand on their ladders, 0 to 1."""
        rows = []
        for name in self._names:
            names = [f"{name}.{control}" for control in ("batch_size", "threshold", NODES)]
            rows.append([_place(setting.level(control), self.ladders[control]) for control in names])
        return np.array(rows)

    def observe(self, window: Any, places: Any, seen: Any) -> NDArray[np.float32]:
        """The observation after a `FleetWindow`."""
        length_s = max(window.end_s - window.begin_s, np.finfo(np.float64).tiny)
        values = [
            window.p50_s / self.sla_s,
            window.p95_s / self.sla_s,
            window.p99_s / self.sla_s,
            window.violation_rate,
            window.offered_qps / self.scale_qps,
            window.completed_qps / self.scale_qps,
            window.mean_items / self.mean_items,
            math.log1p(window.backlog / (self.scale_qps * self.sla_s)),
            _share(window.energy_j, self.full_w * length_s),
        ]
        for number, group in enumerate(window.groups):
            values += self._group_values(number, group, length_s)
            values += places[number].tolist()
        found = np.array([*values, *seen], dtype=np.float64)
        return found.clip(-1.0, HIGHEST, out=found).astype(np.float32)

    def _group_values(self, number: int, group: GroupWindow, length_s: float) -> list[float]:
        count = self._counts[number]
        qps = count * self._node_qps[number]
        return [
            group.offered_qps / qps,
            group.mean_items / self.mean_items,
            group.cpu_utilisation,
            group.accelerator_utilisation,
            group.p95_s / self.sla_s,
            group.p99_s / self.sla_s,
            math.log1p(group.backlog / (qps * self.sla_s)),
            _share(group.energy_j, count * self._node_w[number] * length_s),
            group.serving / count,
            group.starting / count,
            group.draining / count,
        ]

    def info(self, window: Any, setting: Any) -> dict[str, Any]:
        """As of every task, and of each group "GROUP.KEY"; batch size and threshold are means over the nodes."""
        found = super().info(window, setting)
        for name, group in zip(self._names, window.groups, strict=True):
            figures = group._asdict()
            for figure in ("p50_s", "p95_s", "p99_s"):
                found[f"{name}.{figure[:-2]}_ms"] = figures.pop(figure) * 1e3
            found |= {f"{name}.{figure}": value for figure, value in figures.items() if figure != "sample"}
        return found


def _share(energy_j: float, full_j: float) -> float:
    return energy_j / full_j if full_j > 0.0 else 0.0


def _place(level: Any, ladder: tuple[Any, ...]) -> float:
    """Where a level stands on its ladder; off it, that of the file, between its neighbours."""
    if len(ladder) == 1:
        return 0.0
    if level in ladder:
        return ladder.index(level) / (len(ladder) - 1)
    number = math.inf if level is None else level
    below = [each for each in ladder if each is not None and each < number]
    return len(below) / len(ladder)
