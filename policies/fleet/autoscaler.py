"""A target-utilisation autoscaler for every group, as Kubernetes' HorizontalPodAutoscaler has it.

kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale: desired = ceil(nodes x utilisation / target), nothing
within a tolerance of 0.1, nodes that are starting counted as idle when it goes up, and down to the highest of what was
desired in the last 300 s (`STABILISATION_S`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.policies.fleet.seen import ByWindow, Seen
from deeprec_env.workload.diurnal import Diurnal

TOLERANCE = 0.1
STABILISATION_S = 300.0
"""Of a day of 86,400 s: in a fleet's day as large a share of it, in whole windows, rounded up."""

TARGETS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
"""Utilisations that are tried on validation days."""


def desired(ready: int, starting: int, utilisation: float, target: float) -> int:
    """How many nodes a group should have whose `ready` ones were so busy; at least 1."""
    present = ready + starting
    ratio = utilisation / target
    if abs(ratio - 1.0) <= TOLERANCE:
        return present
    if ratio > 1.0 and starting:  # what is starting is taken to be idle, so that it is not ordered twice
        ratio *= ready / present
        if ratio <= 1.0 + TOLERANCE:
            return present
        return math.ceil(present * ratio)
    return max(1, math.ceil(ready * ratio))


def stabilisation_windows(task: FleetTask) -> int:
    """`STABILISATION_S` in windows of the task's day; 1 where traffic has none."""
    arrivals = task.scenario.workload.arrivals
    if not isinstance(arrivals, Diurnal):
        return 1
    return max(1, math.ceil(STABILISATION_S / 86_400.0 * arrivals.day_s / task.interval_s))


class Autoscaler(ByWindow):
    """Every group by its own busier pool, under the settings of the fleet's file. `state`: what was desired before."""

    def __init__(self, task: FleetTask, target: float) -> None:
        self._task, self.target = task, target
        self._remembered = stabilisation_windows(task)

    @property
    def in_words(self) -> str:
        """For a table."""
        return f"target {self.target:.0%}"

    def _act(self, observation: NDArray[np.float32], before: Any) -> tuple[NDArray[np.int64], Any]:
        seen, start = Seen(self._task, observation), self._task.start
        ready, starting = seen.nodes("serving"), seen.nodes("starting")
        if seen.nothing_yet:
            wanted = ready + starting  # nothing is known
        else:
            busy = np.maximum(seen.by_group("cpu_utilisation"), seen.by_group("accelerator_utilisation"))
            wanted = np.array(
                [
                    min(most, desired(int(up), int(coming), float(each_busy), self.target))
                    for up, coming, each_busy, most in zip(ready, starting, busy, start.nodes, strict=True)
                ]
            )
        recent = [*(before or ()), wanted][-1 - self._remembered :]
        present = ready + starting
        nodes = np.where(wanted < present, np.minimum(present, np.max(recent, axis=0)), wanted)
        return self._task.action(start.settings, tuple(nodes.tolist())), tuple(recent)
