"""What compiled code knows of pools' slow phases, as rows of numbers."""

from __future__ import annotations

import numpy as np

from deeprec_env.scenario.pools import PoolSpec

PHASE = np.dtype(
    [
        ("key", np.uint64),  # of the pool's phases
        ("number", np.int64),  # 0: the phase in which the run begins
        ("slow", np.bool_),
        ("ends_s", np.float64),
        ("asked_s", np.float64),  # when a request last started
        ("next_key", np.uint64),  # takes the place of the key with the first request that enters
        ("redraw_s", np.float64),  # from this time on; infinite: none does
    ]
)
"""The phase that a pool is in."""

FACTOR, MEAN_SLOW_S, MEAN_NORMAL_S = 0, 1, 2
"""Columns of the numbers of pools' slowness, (pools, 3)."""


def slowness_row(pool: PoolSpec | None) -> tuple[float, float, float]:
    """The numbers of a pool's slowness; factor 1 without any."""
    if pool is None or pool.slowness is None:
        return 1.0, 1.0, 1.0
    return pool.slowness.factor, pool.slowness.mean_slow_s, pool.slowness.mean_normal_s
