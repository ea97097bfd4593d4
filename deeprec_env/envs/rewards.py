"""Rewards of one control window, from what was measured in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from deeprec_env.simulation.windows import Window

ENERGY_WEIGHT = 0.5
"""What a window at full power costs in `efficiency`, in shares of the sample within the target."""


class Scale(NamedTuple):
    """What a reward measures a window by.

    The target in seconds, the power of all pools fully busy, in watts, the rate that counts as 1, the qualities of
    the plans, in that of the best, and the limit on p99 in seconds. Of several nodes, arrays, one entry for each.
    """

    sla_s: Any
    full_w: Any
    reference_qps: Any = 1.0
    qualities: Any = ()
    p99_s: Any = math.inf


def tail(window: Window, scale: Scale) -> Any:
    """(1 - x if x <= 1 else -ln x) - 5 v with x = p95 / SLA and v = violation rate; 0 for an empty sample.

    As of all rewards, a sample is empty if nothing was shed either; if something was, x is 0 and v 1.
    """
    return _unless_empty(window, _margin(window.p95_s / scale.sla_s) - 5.0 * window.violation_rate)


def goodput(window: Window, scale: Scale) -> Any:
    """1 - v: the share of the window's sample within the target (0 for an empty sample)."""
    return _unless_empty(window, 1.0 - window.violation_rate)


def efficiency(window: Window, scale: Scale) -> Any:
    """`goodput` less 0.5 e, e the window's energy in that of all pools fully busy (0 for a node without powers).

    An empty sample is 0, as everywhere, though idle pools draw power too.
    """
    return goodput(window, scale) - _energy(window, scale)


def carried(window: Window, scale: Scale) -> Any:
    """Queries a second that completed within the target, relative to the reference."""
    return carried_qps(window) / scale.reference_qps


def carried_efficiency(window: Window, scale: Scale) -> Any:
    """`carried` less 0.5 e, as `efficiency` is `goodput` less that."""
    return carried(window, scale) - _energy(window, scale)


def carried_qps(window: Any) -> Any:
    """Queries a second that completed within the target in a `Window`, one or of arrays (0 before the first)."""
    # The sample's queries that have not completed are late, each of them.
    within = np.rint(window.sample * (1.0 - window.violation_rate))
    return within / np.maximum(window.end_s - window.begin_s, np.finfo(np.float64).tiny)


def quality(window: Window, scale: Scale) -> Any:
    """The quality of the plans of the sample's queries within the target, summed, in the sample (0 for an empty one).

    A query over the target counts 0, one within it the quality of its plan: 1 is the best plan for all, in time.
    """
    served = sum(worth * within for worth, (_, within) in zip(scale.qualities, window.plans, strict=True))
    return served / np.maximum(window.sample, 1.0)


def mean_quality(window: Any, qualities: Sequence[float]) -> Any:
    """Mean quality of a sample's plans, those of late queries too, of a `Window`, one or of arrays (empty: 0)."""
    ranked = sum(worth * sample for worth, (sample, _) in zip(qualities, window.plans, strict=True))
    return ranked / np.maximum(window.sample, 1.0)


def _margin(x: Any) -> Any:
    """1 - x up to 1, then -ln x, which falls more and more slowly."""
    if isinstance(x, float):
        return 1.0 - x if x <= 1.0 else -math.log(x)
    margin, late = 1.0 - x, x > 1.0
    if late.any():
        margin[late] = -_log(x[late]).astype(np.float64)  # NumPy's own logarithm differs in the last bit
    return margin


_log = np.frompyfunc(math.log, 1, 1)


def _unless_empty(window: Window, value: Any) -> Any:
    """0 where there is nothing to reward: no query in the sample, none that was shed."""
    if isinstance(value, float):
        return value if window.sample or window.shed_rate else 0.0
    return np.where((window.sample != 0.0) | (window.shed_rate != 0.0), value, 0.0)


def _energy(window: Window, scale: Scale) -> Any:
    """What a window's energy costs; nothing for an empty sample, or for a node without powers."""
    full_j = scale.full_w * (window.end_s - window.begin_s)
    return _unless_empty(window, ENERGY_WEIGHT * window.energy_j / np.where(full_j > 0.0, full_j, math.inf))


REWARDS: dict[str, Callable[[Window, Scale], Any]] = {"tail": tail, "goodput": goodput, "efficiency": efficiency}
"""Rewards of `ServingEnv` by name: (window, scale) -> reward."""

CAPACITY_REWARDS: dict[str, Callable[[Window, Scale], Any]] = {
    "carried": carried,
    "efficiency": carried_efficiency,
}
"""Rewards of `CapacityEnv` by name: (window, scale) -> reward."""

PIPELINE_REWARDS: dict[str, Callable[[Window, Scale], Any]] = {"quality": quality}
"""Rewards of `PipelineEnv` by name: (window, scale) -> reward."""

OF_ARRAYS = frozenset({*REWARDS.values(), *CAPACITY_REWARDS.values(), *PIPELINE_REWARDS.values()})
"""Rewards that take windows of arrays, too; those of others take one node's."""
