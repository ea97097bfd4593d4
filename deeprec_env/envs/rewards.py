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

    The target in seconds, the power of all pools fully busy, in watts, the rate that counts as 1, and the qualities of
    the plans, in that of the best.
    """

    sla_s: float
    full_w: float
    reference_qps: float = 1.0
    qualities: tuple[float, ...] = ()


def tail(window: Window, scale: Scale) -> float:
    """(1 - x if x <= 1 else -ln x) - 5 v with x = p95 / SLA and v = violation rate; 0 for an empty sample.

    As of all rewards, a sample is empty if nothing was shed either; if something was, x is 0 and v 1.
    """
    if _nothing(window):
        return 0.0
    x = window.p95_s / scale.sla_s
    return (1.0 - x if x <= 1.0 else -math.log(x)) - 5.0 * window.violation_rate


def goodput(window: Window, scale: Scale) -> float:
    """1 - v: the share of the window's sample within the target (0 for an empty sample)."""
    return 0.0 if _nothing(window) else 1.0 - window.violation_rate


def efficiency(window: Window, scale: Scale) -> float:
    """`goodput` less 0.5 e, e the window's energy in that of all pools fully busy (0 for a node without powers).

    An empty sample is 0, as everywhere, though idle pools draw power too.
    """
    return goodput(window, scale) - _energy(window, scale)


def carried(window: Window, scale: Scale) -> float:
    """Queries a second that completed within the target, relative to the reference."""
    return float(carried_qps(window)) / scale.reference_qps


def carried_efficiency(window: Window, scale: Scale) -> float:
    """`carried` less 0.5 e, as `efficiency` is `goodput` less that."""
    return carried(window, scale) - _energy(window, scale)


def carried_qps(window: Any) -> Any:
    """Queries a second that completed within the target in a `Window`, one or of arrays (0 before the first)."""
    # The sample's queries that have not completed are late, each of them.
    within = np.rint(window.sample * (1.0 - window.violation_rate))
    return within / np.maximum(window.end_s - window.begin_s, np.finfo(np.float64).tiny)


def quality(window: Window, scale: Scale) -> float:
    """The quality of the plans of the sample's queries within the target, summed, in the sample (0 for an empty one).

    A query over the target counts 0, one within it the quality of its plan: 1 is the best plan for all, in time.
    """
    served = sum(worth * within for worth, (_, within) in zip(scale.qualities, window.plans, strict=True))
    return served / window.sample if window.sample else 0.0


def mean_quality(window: Any, qualities: Sequence[float]) -> Any:
    """Mean quality of a sample's plans, those of late queries too, of a `Window`, one or of arrays (empty: 0)."""
    ranked = sum(worth * sample for worth, (sample, _) in zip(qualities, window.plans, strict=True))
    return ranked / np.maximum(window.sample, 1.0)


def _nothing(window: Window) -> bool:
    """Whether there is nothing to reward: no query in the sample, none that was shed."""
    return not window.sample and not window.shed_rate


def _energy(window: Window, scale: Scale) -> float:
    """What a window's energy costs; nothing for an empty sample, or for a node without powers."""
    if _nothing(window) or scale.full_w == 0.0:
        return 0.0
    return ENERGY_WEIGHT * window.energy_j / (scale.full_w * (window.end_s - window.begin_s))


REWARDS: dict[str, Callable[[Window, Scale], float]] = {"tail": tail, "goodput": goodput, "efficiency": efficiency}
"""Rewards of `ServingEnv` by name: (window, scale) -> reward."""

CAPACITY_REWARDS: dict[str, Callable[[Window, Scale], float]] = {
    "carried": carried,
    "efficiency": carried_efficiency,
}
"""Rewards of `CapacityEnv` by name: (window, scale) -> reward."""

PIPELINE_REWARDS: dict[str, Callable[[Window, Scale], float]] = {"quality": quality}
"""Rewards of `PipelineEnv` by name: (window, scale) -> reward."""
