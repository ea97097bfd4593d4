"""Rewards of `FleetEnv`: energy under the target, or the tail."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from deeprec_env.envs.rewards import Scale, tail
from deeprec_env.simulation.windows import Window

VIOLATIONS_WEIGHT = 5.0
"""What the share of late queries costs in `energy`, where a window at full power costs 1: as in the reward `tail`."""


def energy(window: Window, scale: Scale) -> float:
    """- e - 5 v - max(0, ln(p95 / target)) - max(0, ln(p99 / limit)).

    e: the window's energy in that of all nodes fully busy; v: the violation rate of its sample. Whoever lets 1 % of the
    queries be late has to save 5 % of the full power by it. Both logarithms are 0 of an empty sample.
    """
    spent = window.energy_j / (scale.full_w * (window.end_s - window.begin_s)) if scale.full_w > 0.0 else 0.0
    late = _over(window.p95_s, scale.sla_s) + _over(window.p99_s, scale.p99_s)
    return -spent - VIOLATIONS_WEIGHT * window.violation_rate - late


def _over(value_s: float, limit_s: float) -> float:
    return math.log(value_s / limit_s) if value_s > limit_s else 0.0


FLEET_REWARDS: dict[str, Callable[[Window, Scale], Any]] = {"energy": energy, "tail": tail}
"""By name; under `tail` all nodes are on."""
