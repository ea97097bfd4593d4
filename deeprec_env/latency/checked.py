"""What users' latency models answer, checked where it enters; the package's own are trusted."""

from __future__ import annotations

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats, Ints, LatencyModel


def base_s(latency: LatencyModel, items: Ints, u: Floats) -> Floats:
    """`latency.base_s`; `InputError`, which names kind and value, for what are no seconds, one for each request."""
    return _seconds(latency, "base_s", items, latency.base_s(items, u))


def mean_s(latency: LatencyModel, items: Ints) -> Floats:
    """`latency.mean_s`, checked likewise."""
    return _seconds(latency, "mean_s", items, latency.mean_s(items))


def _seconds(latency: LatencyModel, method: str, items: Ints, answer: Floats) -> Floats:
    if latency.is_ours():
        return answer
    field = f"latency of kind {latency.kind}, {method}"
    seconds = np.asarray(answer, dtype=np.float64)
    if seconds.ndim and seconds.shape != items.shape:  # one number is that of all
        raise InputError(field, f"shape {seconds.shape}", f"must be one number for each of {items.size} requests")
    if not (np.isfinite(seconds) & (seconds >= 0.0)).all():
        wrong = np.flatnonzero(~(np.isfinite(seconds) & (seconds >= 0.0)))[0]
        at = int(items.flat[wrong])
        raise InputError(field, float(seconds.flat[wrong]), f"must be finite seconds of at least 0 ({at} items)")
    return seconds
