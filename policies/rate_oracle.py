"""The reference that knows the true rate and the present state of the node, not the draws."""

from __future__ import annotations

import numpy as np

from deeprec_env.envs.serving import ServingEnv
from deeprec_env.workload.stream import Traffic
from policies.load_table import LoadTable
from policies.lookahead import STEPS, LookAhead

_CHILD = 3  # of a seed, beside the three splits: its draws are those of no traffic


class RateOracle(LookAhead):
    """Looks ahead over futures drawn afresh: Poisson at the true rate, sizes and noise from its own generator.

    The state that it knows is the node's: what is in flight, and when that will end if left alone.
    """

    def __init__(self, table: LoadTable, seed: int) -> None:
        super().__init__(table)
        self._seed = seed

    def watch(self, env: ServingEnv) -> None:
        """Start an episode; the same one is always met with the same futures."""
        super().watch(env)
        self._rng = np.random.default_rng([self._seed, _CHILD])

    def future(self, window: int, until: int) -> Traffic:
        """Traffic of the windows `window` to before `until`, as it might come."""
        step_s = self._interval_s / STEPS
        counts = self._rng.poisson(self._rates[window:until].ravel() * step_s)
        step = np.repeat(np.arange(window * STEPS, until * STEPS), counts)
        arrival_s = np.sort((step + self._rng.random(len(step))) * step_s)
        items = self._table.scenario.workload.sizes.draw(self._rng, len(step))
        return Traffic(np.maximum(arrival_s, self._engine.now_s), items, int(self._rng.integers(2**63)))
