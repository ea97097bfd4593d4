"""The provisioning table: for every rate the nodes of fewest watts that carry it, from what single nodes carry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.errors import InputError
from deeprec_env.policies.base import Progress
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.fleet.seen import ByWindow, Seen
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.offered_load import service_demands

HEADROOMS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0)
"""Times the measured rate, tried on validation days."""

MOST_MIXES = 10**6
"""Bound of the numbers of nodes by group that a table looks at."""


@dataclass(frozen=True)
class ProvisioningTable:
    """Mixes of nodes, (mixes, groups), what each carries (mixes,), and watts when idle and for each query a second.

    `queries_used`: what the capacities cost. Watts are linear in the rate, since traffic is taken to be split as the
    nodes' capacities are.
    """

    mixes: Ints
    carried_qps: Floats
    idle_w: Floats
    joules_per_query: Floats
    capacities_qps: tuple[float, ...]
    queries_used: int

    def nodes(self, qps: float, needed_qps: float) -> tuple[int, ...]:
        """The mix of fewest watts at a rate, of those that carry what is needed; all nodes where none does."""
        able = self.carried_qps >= needed_qps
        if not able.any():
            return tuple(self.mixes[int(np.argmax(self.carried_qps))].tolist())
        watts = np.where(able, self.idle_w + self.joules_per_query * qps, np.inf)
        return tuple(self.mixes[int(np.argmin(watts))].tolist())


def find_table(task: FleetTask, options: TuneOptions, progress: Progress) -> ProvisioningTable:
    """The table of a fleet under the settings of its file. Raises `InputError` for a group that carries nothing."""
    ladders = [task.ladders[f"{name}.nodes"] for name in task.start.names]
    if np.prod([len(ladder) for ladder in ladders], dtype=np.float64) > MOST_MIXES:
        raise InputError(
            "fleet.groups", len(ladders), f"must have at most {MOST_MIXES} mixes of their numbers of nodes"
        )
    capacities, used = [], 0
    for name, group, setting in zip(task.start.names, task.scenario.group_scenarios, task.start.settings, strict=True):
        progress(f"provisioning: capacity of {name}")
        alone = group.with_setting(setting)
        found = find_capacity(
            alone, queries=options.queries, seed=options.seed, engine=options.engine, p95_only=False, confirm=False
        )
        if found.qps == 0.0:
            raise InputError("fleet.groups", name, "can't meet the target under its settings, even on an idle node")
        capacities.append(found.qps)
        used += found.queries_used
    mixes = np.array([mix for mix in product(*ladders) if any(mix)], dtype=np.int64)
    carried = mixes @ np.array(capacities)
    watts = [_watts(group, setting) for group, setting in zip(
        task.scenario.group_scenarios, task.start.settings, strict=True
    )]  # fmt: skip
    idle_w = mixes @ np.array([idle for idle, _ in watts])
    share = mixes * np.array(capacities) / carried[:, None]
    return ProvisioningTable(
        mixes, carried, idle_w, share @ np.array([joules for _, joules in watts]), tuple(capacities), used
    )


def _watts(group: Any, setting: Setting) -> tuple[float, float]:
    """Watts of an idle node, and joules that a query adds to them."""
    pools = {kind: pool for stage in group.stages for kind, pool in stage.pools().items()}
    idle_w = sum(pool.idle_w for pool in pools.values())
    added = sum(
        (pools[demand.kind].busy_w - pools[demand.kind].idle_w) * demand.seconds_per_query / demand.servers
        for demand in service_demands(group, setting)
    )
    return idle_w, added


class ProvisioningPolicy(ByWindow):
    """The table at the rate measured in the window before, with a headroom; without a measured rate all nodes."""

    def __init__(self, task: FleetTask, table: ProvisioningTable, headroom: float) -> None:
        self._task, self._table, self.headroom = task, table, headroom

    @property
    def in_words(self) -> str:
        """For a table."""
        return f"{self.headroom:g} x rate"

    def _act(self, observation: NDArray[np.float32], before: Any) -> tuple[NDArray[np.int64], Any]:
        seen, start = Seen(self._task, observation), self._task.start
        nodes = start.nodes if seen.nothing_yet else self._table.nodes(
            seen.offered_qps, self.headroom * seen.offered_qps
        )  # fmt: skip
        return self._task.action(start.settings, nodes), None
