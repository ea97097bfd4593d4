"""An oracle that knows the true rate of the windows to come, bursts included: the provisioning table by that."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.policies.fleet.provisioning import ProvisioningTable
from deeprec_env.scenario.parts import Floats

HEADROOMS = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.8)
"""Times the highest rate ahead, tried on validation days."""

_INSTANTS = 8
"""Of a window, at which the rate is looked at."""


class RateAhead:
    """The nodes for the highest rate of the window that begins and of those in which a node started later comes up."""

    def __init__(self, task: FleetTask, table: ProvisioningTable, headroom: float) -> None:
        assert task.scenario.fleet is not None
        self._task, self._table, self.headroom = task, table, headroom
        slowest_s = max(group.start_s for group in task.scenario.fleet.groups)
        self._ahead = 1 + int(np.ceil(slowest_s / task.interval_s))
        self._rates: Floats = np.zeros((0, _INSTANTS))
        self._window = 0

    @property
    def in_words(self) -> str:
        """For a table."""
        return f"{self.headroom:g} x rate ahead"

    def watch(self, env: TrafficEnv) -> None:
        """Start an episode, whose rates are known."""
        windows = np.arange(env.windows)[:, None] + (np.arange(_INSTANTS) + 0.5) / _INSTANTS
        self._rates = env.rate_qps(windows.ravel() * env.interval_s).reshape(windows.shape)
        self._window = 0

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action of the window that begins."""
        ahead = self._rates[self._window : self._window + self._ahead]
        self._window += 1
        nodes = self._table.nodes(float(ahead[0].mean()), self.headroom * float(ahead.max()))
        return self._task.action(self._task.start.settings, nodes), state
