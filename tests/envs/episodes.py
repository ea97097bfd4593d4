"""Episodes and results as bytes, to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

INFO = {
    "p50_ms", "p95_ms", "p99_ms", "offered_qps", "completed_qps", "violation_rate", "batch_size", "threshold",
    "cpu_utilisation", "accelerator_utilisation", "backlog", "energy_j", "sla_ms",
}  # fmt: skip
"""Keys that `info` has everywhere."""


def episode(env: Any, chosen: Sequence[Any], seed: int | None = 3, **options: Any) -> list[bytes]:
    """All that an episode gives, in bytes."""
    observation, info = env.reset(seed=seed, options=options or None)
    out = [observation.tobytes() + repr(sorted(info.items())).encode()]
    for action in chosen:
        observation, reward, terminated, truncated, info = env.step(action)
        out.append(observation.tobytes() + repr((reward, terminated, truncated, sorted(info.items()))).encode())
    return out


def assert_same(mine: Any, theirs: Any) -> None:
    """Two results of Gymnasium's vector API, to the bit."""
    if isinstance(mine, dict):
        assert sorted(mine) == sorted(theirs)
        for name in mine:
            assert_same(mine[name], theirs[name])
    elif isinstance(mine, tuple):
        for ours, other in zip(mine, theirs, strict=True):
            assert_same(ours, other)
    elif np.asarray(mine).dtype == object:
        assert [entry.tobytes() for entry in mine] == [entry.tobytes() for entry in theirs]
    else:
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype
        assert np.asarray(mine).tobytes() == np.asarray(theirs).tobytes()
