"""Phases in which a pool is slow (rule 19): a process in time that no run can change, known as far as it has come.

The length of phase n of a pool is a pure function of the traffic's slow key, the pool and n, as the noise of a request
is of its query. So no phases are kept, but the one that the pool is in; it costs the same however long a run is, and
whatever the blocks that it comes in. A pool's requests start in the order of time under every engine and kernel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.pools import PoolSpec
from deeprec_env.simulation.phase_rows import FACTOR, MEAN_NORMAL_S, MEAN_SLOW_S, PHASE, slowness_row
from deeprec_env.workload.noise import key_of, uniform

_STREAM = 1 << 33
"""Stands before a pool's number where the noise of a query has its stage: other keys, even of the same word."""


@compiled
def begin_phases(slowness: Floats, phases: NDArray[Any], slow_key: np.uint64) -> None:
    """Let the pools begin at time 0, in the phases of a key."""
    for pool in range(len(slowness)):
        phases[pool].key = key_of(slow_key, np.uint64(_STREAM + pool), 0)
    rewind_phases(slowness, phases)


@compiled
def rewind_phases(slowness: Floats, phases: NDArray[Any]) -> None:
    """Let the pools be where they began."""
    for pool in range(len(slowness)):
        share = slowness[pool, MEAN_SLOW_S] / (slowness[pool, MEAN_SLOW_S] + slowness[pool, MEAN_NORMAL_S])
        phases[pool].number, phases[pool].asked_s, phases[pool].redraw_s = 0, 0.0, math.inf
        phases[pool].slow = uniform(phases[pool].key, 0) < share
        phases[pool].ends_s = _length_s(slowness, phases, pool)


@compiled
def copy_phases(phases: NDArray[Any], to: NDArray[Any]) -> None:
    """Let the pools of another node be where these are."""
    for pool in range(len(phases)):
        to[pool] = phases[pool]


@compiled
def _length_s(slowness: Floats, phases: NDArray[Any], pool: int) -> float:
    """Length of the phase that a pool is in."""
    mean_s = slowness[pool, MEAN_SLOW_S if phases[pool].slow else MEAN_NORMAL_S]
    return float(-mean_s * math.log1p(-uniform(phases[pool].key, phases[pool].number + 1)))


@compiled
def factor_at(slowness: Floats, phases: NDArray[Any], pool: int, start_s: float) -> float:
    """The factor on the service of a request that starts then; no start of the pool comes before another one's."""
    while phases[pool].ends_s <= start_s:
        phases[pool].number += 1
        phases[pool].slow = not phases[pool].slow
        phases[pool].ends_s += _length_s(slowness, phases, pool)
    phases[pool].asked_s = start_s
    return float(slowness[pool, FACTOR]) if phases[pool].slow else 1.0


@compiled
def factor_for(slowness: Floats, phases: NDArray[Any], pool: int, entry_s: float, start_s: float) -> float:
    """`factor_at` for a request of a query that entered at `entry_s`."""
    if entry_s >= phases[pool].redraw_s:
        _redraw(slowness, phases, pool)
    return factor_at(slowness, phases, pool, start_s)


@compiled
def redraw_phases(
    slowness: Floats, phases: NDArray[Any], slow_key: np.uint64, now_s: float, entered_have_started: bool
) -> None:
    """Let the phases be those of another key for queries that enter from the present on.

    Those before keep what they met or, unless `entered_have_started`, will meet. Then the phase that goes on is drawn
    anew: what is left of an exponential one is as long as a new one.
    """
    for pool in range(len(slowness)):
        phases[pool].next_key = key_of(slow_key, np.uint64(_STREAM + pool), 0)
        phases[pool].redraw_s = now_s
        if entered_have_started:
            _redraw(slowness, phases, pool)


@compiled
def _redraw(slowness: Floats, phases: NDArray[Any], pool: int) -> None:
    from_s = max(phases[pool].redraw_s, phases[pool].asked_s)
    factor_at(slowness, phases, pool, from_s)
    phases[pool].key = phases[pool].next_key
    phases[pool].redraw_s = math.inf
    phases[pool].ends_s = from_s + _length_s(slowness, phases, pool)


class SlowPhases:
    """The phases of one pool, for an engine in Python, which asks compiled code where one ends: the same floats."""

    def __init__(self, spec: PoolSpec, pool: int, slow_key: int) -> None:
        self._slowness = np.array([slowness_row(spec)])
        self._phases = np.zeros(1, dtype=PHASE)
        self._phases["key"] = key_of(np.uint64(slow_key), np.uint64(_STREAM + pool), 0)
        rewind_phases(self._slowness, self._phases)
        self._ends_s, self._factor = 0.0, 1.0

    def factor_at(self, start_s: float) -> float:
        """As `factor_at`."""
        if self._ends_s <= start_s:
            self._factor = factor_at(self._slowness, self._phases, 0, start_s)
            self._ends_s = float(self._phases["ends_s"][0])
        return self._factor
