"""The reference that knows the true rate and the present state of the node, not the draws."""

from __future__ import annotations

import numpy as np

from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.policies.privileged.futures import drawn_future
from deeprec_env.policies.privileged.lookahead import Candidates, LookAhead
from deeprec_env.workload.stream import Traffic

_CHILD = 3  # of a seed, beside the three splits: its draws are those of no traffic


class RateOracle(LookAhead):
    """Looks ahead over futures drawn afresh: Poisson at the true rate, sizes and noise from its own generator.

    The state that it knows is the node's: what is in flight, and when that will end if left alone.
    """

    def __init__(self, table: Candidates, seed: int) -> None:
        super().__init__(table)
        self._seed = seed

    def watch(self, env: TrafficEnv) -> None:
        """Start an episode; the same one is always met with the same futures."""
        super().watch(env)
        self._rng = np.random.default_rng([self._seed, _CHILD])

    def future(self, window: int, until: int) -> Traffic:
        """Traffic of the windows `window` to before `until`, as it might come."""
        rates, sizes = self._rates[window:until], self._table.scenario.workload.sizes
        return drawn_future(self._rng, rates, sizes, window, self._interval_s, self._engine)
