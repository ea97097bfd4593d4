"""The quantile function of a profile, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprec_env.compiled import compiled


@compiled
def quantile_s(items: Any, u: Any, batches: Any, quantiles_s: Any, levels: Any) -> Any:
    """Seconds of requests of `items` items at noise `u`, from `quantiles_s` (batches, levels).

    Linear in the batch between the measured ones, by the last slope behind the last, constant before the first; then
    linear in the level, constant outside.
    """
    seconds = np.empty(len(items))
    last_batch, last_level = len(batches) - 2, len(levels) - 2
    for request in range(len(items)):
        n, noise = items[request], u[request]
        i = min(max(np.searchsorted(batches, n, side="right") - 1, 0), last_batch)
        weight = max((n - batches[i]) / (batches[i + 1] - batches[i]), 0.0)
        k = 0
        while k < last_level and noise >= levels[k + 1]:
            k += 1
        along = min(max((noise - levels[k]) / (levels[k + 1] - levels[k]), 0.0), 1.0)
        low = quantiles_s[i, k] + weight * (quantiles_s[i + 1, k] - quantiles_s[i, k])
        high = quantiles_s[i, k + 1] + weight * (quantiles_s[i + 1, k + 1] - quantiles_s[i, k + 1])
        seconds[request] = low + along * (high - low)
    return seconds
