"""The observation: what a real server could measure at the end of a window, scaled to about 1."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deeprec_env.simulation.windows import Window

HIGHEST = 10.0
"""Observations are clipped to [-1, HIGHEST]."""

FIELDS = (
    "p50", "p95", "p99", "violation_rate", "offered", "completed", "mean_items", "cpu_utilisation",
    "accelerator_utilisation", "backlog", "batch_size", "threshold", "day_sin", "day_cos",
)  # fmt: skip
"""Names of the observation's entries, in order; `ServingEnv` says what each holds."""


def observe(
    window: Window,
    *,
    sla_s: float,
    scale_qps: float,
    mean_items: float,
    batch_position: float,
    threshold_position: float,
    day_fraction: float,
) -> NDArray[np.float32]:
    """The observation after `window`. Positions are 0 to 1 along the ladders; `day_fraction` is the time of day."""
    values = (
        window.p50_s / sla_s,
        window.p95_s / sla_s,
        window.p99_s / sla_s,
        window.violation_rate,
        window.offered_qps / scale_qps,
        window.completed_qps / scale_qps,
        window.mean_items / mean_items,
        window.cpu_utilisation,
        window.accelerator_utilisation,
        math.log1p(window.backlog / (scale_qps * sla_s)),
        batch_position,
        threshold_position,
        math.sin(2.0 * math.pi * day_fraction),
        math.cos(2.0 * math.pi * day_fraction),
    )
    return np.array(np.clip(values, -1.0, HIGHEST), dtype=np.float32)
