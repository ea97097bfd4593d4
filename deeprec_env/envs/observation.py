"""The observation: what a real server could measure at the end of a window, scaled to about 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HIGHEST = 10.0
"""Observations are clipped to [-1, HIGHEST]."""

_MEASURED = (
    "p50", "p95", "p99", "violation_rate", "offered", "completed", "mean_items", "cpu_utilisation",
    "accelerator_utilisation", "backlog", "batch_size", "threshold",
)  # fmt: skip

FIELDS = (*_MEASURED, "day_sin", "day_cos")
"""Names of the observation's entries, in order; `ServingEnv` says what each holds."""

CAPACITY_FIELDS = (*_MEASURED, "load")
"""The same of `CapacityEnv`."""

V2_FIELDS = (
    *FIELDS, "shed_rate", "waiting_cpu", "waiting_accelerator", "predicted", "offload", "order", "admit_ms",
)  # fmt: skip
"""The same of `ServingV2Env`: those of `ServingEnv` come first."""

PIPELINE_MEASURED = _MEASURED
"""The first of `PipelineEnv`; the rest depend on the scenario's stages and plans."""


def observe(
    window: Any,
    places: Any,
    seen: Any,
    *,
    sla_s: Any,
    scale_qps: Any,
    mean_items: Any,
) -> NDArray[np.float32]:
    """The observation after a `Window`, (12 + k,); of a `Window` of arrays (n,), (n, 12 + k).

    `places` are those of batch size and threshold on their ladders, 0 to 1; `seen` are the last k entries, (k,) or
    (n, k). What rates, times and sizes are measured by are numbers, or arrays (n,).
    """
    measured = (
        window.p50_s / sla_s,
        window.p95_s / sla_s,
        window.p99_s / sla_s,
        window.violation_rate,
        window.offered_qps / scale_qps,
        window.completed_qps / scale_qps,
        window.mean_items / mean_items,
        window.cpu_utilisation,
        window.accelerator_utilisation,
        np.log1p(window.backlog / (scale_qps * sla_s)),
        *places,
    )
    if isinstance(window.p50_s, float):
        values = np.array([*measured, *seen], dtype=np.float64)
    else:
        own = np.asarray(seen, dtype=np.float64)
        values = np.concatenate([np.stack(measured, axis=-1), own], axis=-1)
    return values.clip(-1.0, HIGHEST, out=values).astype(np.float32)
