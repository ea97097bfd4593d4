"""Rewards of one control window, from its sample alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from deeprec_env.simulation.windows import Window


def tail(window: Window, sla_s: float) -> float:
    """(1 - x if x <= 1 else -ln x) - 5 v with x = p95 / SLA and v = violation rate; 0 for an empty sample."""
    if not window.sample:
        return 0.0
    x = window.p95_s / sla_s
    return (1.0 - x if x <= 1.0 else -math.log(x)) - 5.0 * window.violation_rate


def goodput(window: Window, sla_s: float) -> float:
    """1 - v: the share of the window's sample within the target (0 for an empty sample)."""
    return 1.0 - window.violation_rate if window.sample else 0.0


REWARDS: dict[str, Callable[[Window, float], float]] = {"tail": tail, "goodput": goodput}
"""Rewards by name: (window, target in seconds) -> reward."""
