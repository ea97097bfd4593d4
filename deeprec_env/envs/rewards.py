"""Rewards of one control window, from what was measured in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from deeprec_env.simulation.windows import Window

ENERGY_WEIGHT = 0.5
"""What a window at full power costs in `efficiency`, in shares of the sample within the target."""


class Scale(NamedTuple):
    """What a reward measures a window by: the target in seconds, and the power of all pools fully busy, in watts."""

    sla_s: float
    full_w: float


def tail(window: Window, scale: Scale) -> float:
    """(1 - x if x <= 1 else -ln x) - 5 v with x = p95 / SLA and v = violation rate; 0 for an empty sample."""
    if not window.sample:
        return 0.0
    x = window.p95_s / scale.sla_s
    return (1.0 - x if x <= 1.0 else -math.log(x)) - 5.0 * window.violation_rate


def goodput(window: Window, scale: Scale) -> float:
    """1 - v: the share of the window's sample within the target (0 for an empty sample)."""
    return 1.0 - window.violation_rate if window.sample else 0.0


def efficiency(window: Window, scale: Scale) -> float:
    """`goodput` less 0.5 e, e the window's energy in that of all pools fully busy (0 for a node without powers).

    An empty sample is 0, as everywhere, though idle pools draw power too.
    """
    if not window.sample or scale.full_w == 0.0:
        return goodput(window, scale)
    full_j = scale.full_w * (window.end_s - window.begin_s)
    return goodput(window, scale) - ENERGY_WEIGHT * window.energy_j / full_j


REWARDS: dict[str, Callable[[Window, Scale], float]] = {"tail": tail, "goodput": goodput, "efficiency": efficiency}
"""Rewards by name: (window, scale) -> reward."""
