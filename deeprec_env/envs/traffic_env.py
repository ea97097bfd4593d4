"""Environments whose traffic comes whatever the server does, so that references may be shown all of it."""

from __future__ import annotations

from deeprec_env.envs.node_env import NodeEnv
from deeprec_env.envs.serving_task import ServingTask
from deeprec_env.scenario.parts import Floats
from deeprec_env.workload.stream import Traffic


class TrafficEnv(NodeEnv):
    """A node under given traffic."""

    _task: ServingTask

    def traffic(self) -> Traffic:
        """All queries of the episode, those still to come included."""
        return self._task.open(*self._episode_key(), self.windows).start()

    def rate_qps(self, times_s: Floats) -> Floats:
        """The true rate of the episode's traffic at some times, bursts included, in queries a second."""
        return self._task.stream(*self._episode_key()).rate_qps(times_s)
