"""The observation: what a real server could measure at the end of a window, scaled to about 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

HIGHEST = 10.0
"""Observations are clipped to [-1, HIGHEST]."""

FIELDS = (
    "p50", "p95", "p99", "violation_rate", "offered", "completed", "mean_items", "cpu_utilisation",
    "accelerator_utilisation", "backlog", "batch_size", "threshold", "day_sin", "day_cos",
)  # fmt: skip
"""Names of the observation's entries, in order; `ServingEnv` says what each holds."""


def observe(
    window: Any,
    places: Any,
    day_fraction: float | None,
    *,
    sla_s: float,
    scale_qps: float,
    mean_items: float,
) -> NDArray[np.float32]:
    """The observation after a `Window`, (14,); of a `Window` of arrays (n,), (n, 14).

    `places` are those of batch size and threshold on their ladders, 0 to 1; `day_fraction` is the time of day, None
    where traffic has none.
    """
    values = np.empty((*np.shape(window.p50_s), len(FIELDS)))
    values[..., 0] = window.p50_s / sla_s
    values[..., 1] = window.p95_s / sla_s
    values[..., 2] = window.p99_s / sla_s
    values[..., 3] = window.violation_rate
    values[..., 4] = window.offered_qps / scale_qps
    values[..., 5] = window.completed_qps / scale_qps
    values[..., 6] = window.mean_items / mean_items
    values[..., 7] = window.cpu_utilisation
    values[..., 8] = window.accelerator_utilisation
    values[..., 9] = np.log1p(window.backlog / (scale_qps * sla_s))
    values[..., 10], values[..., 11] = places
    values[..., 12], values[..., 13] = _clock(day_fraction)
    return np.clip(values, -1.0, HIGHEST, out=values).astype(np.float32)


def _clock(day_fraction: float | None) -> tuple[float, float]:
    if day_fraction is None:
        return 0.0, 0.0
    return math.sin(2.0 * math.pi * day_fraction), math.cos(2.0 * math.pi * day_fraction)
