"""The reference that knows the draws: it searches ahead in the traffic that will come. Shown only, no bound."""

from __future__ import annotations

import numpy as np

from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.policies.privileged.lookahead import LookAhead
from deeprec_env.workload.stream import Traffic


class Hindsight(LookAhead):
    """Looks ahead over the one true future."""

    futures = (1, 0)

    def watch(self, env: TrafficEnv) -> None:
        """Start an episode, with all its traffic."""
        super().watch(env)
        self._traffic = env.traffic()

    def future(self, window: int, until: int) -> Traffic:
        """The traffic that will arrive in the windows `window` to before `until`."""
        traffic = self._traffic
        begin = self._engine.arrived
        end = max(begin, int(np.searchsorted(traffic.arrival_s, until * self._interval_s)))
        return traffic.part(begin, end)
