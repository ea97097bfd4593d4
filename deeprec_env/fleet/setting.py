"""What is in force in a fleet: the setting of every group's nodes, and how many of them are on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting, SettingNumbers
from deeprec_env.simulation.kernel_choice import decided_on_entry

NODES = "nodes"
"""The control that says how many of a group's nodes are on, beside those of a `Setting`."""


@dataclass(frozen=True)
class FleetSetting:
    """By group of `names`, the setting of its nodes and how many of them are on."""

    names: tuple[str, ...]
    settings: tuple[Setting, ...]
    nodes: tuple[int, ...]

    @classmethod
    def of(cls, scenario: Scenario) -> FleetSetting:
        """What a fleet begins with: its file's settings, all nodes on."""
        assert scenario.fleet is not None
        members = scenario.fleet.members
        return cls(members.names, tuple(group.setting for group in scenario.group_scenarios), members.counts)

    @property
    def numbers(self) -> SettingNumbers:
        """The mean over the groups, by the nodes that are on (by groups where none are)."""
        weights = np.array(self.nodes) if any(self.nodes) else np.ones(len(self.nodes))
        rows = np.array([setting.numbers for setting in self.settings])
        used = rows[weights > 0]
        return SettingNumbers(*np.average(used, axis=0, weights=weights[weights > 0]).tolist())

    def level(self, control: str) -> Any:
        """What is in force of a group's control, "GROUP.CONTROL"."""
        name, _, control = control.rpartition(".")
        group = self.names.index(name)
        return self.nodes[group] if control == NODES else self.settings[group].level(control)


def check_steppable(scenario: Scenario) -> None:
    """Raise `InputError` unless every group is one stage, served in the order of entry at one speed."""
    assert scenario.fleet is not None
    for name, group in zip(scenario.fleet.members.names, scenario.group_scenarios, strict=True):
        pools = [pool for stage in group.stages for pool in stage.pools().values()]
        plain = len(group.stages) == 1 and group.sub_batches == 1 and len(group.planned_stages) == 1
        if not plain or not decided_on_entry(group) or any(pool.slowness is not None for pool in pools):
            allowed = "must be nodes of one stage, without order, prediction, admission, batching or slow phases"
            raise InputError("fleet.groups", name, f"{allowed}, where nodes come and go")
