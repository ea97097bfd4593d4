"""All nodes on, all day, under the settings of the fleet's file: what is paid where nobody provisions."""

from __future__ import annotations

from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.policies.base import FixedPolicy


class EverythingOn(FixedPolicy):
    """The start's settings, every node on."""

    def __init__(self, task: FleetTask) -> None:
        super().__init__(*task.action(task.start.settings, task.start.nodes))

    in_words = "all nodes on"
