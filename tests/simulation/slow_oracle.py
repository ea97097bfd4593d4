"""An independent statement of rule 19: the phases of a pool, summed one by one."""

from __future__ import annotations

import math

import numpy as np

from deeprec_env.scenario.pools import PoolSpec
from deeprec_env.workload.noise import query_keys, uniforms


class SlowOracle:
    """The phases of a node's pools; `stage` and `kind` ("cpu", "accelerator") name one."""

    def __init__(self, slow_key: int) -> None:
        self._slow_key = slow_key
        self._began: dict[tuple[int, str], tuple[bool, list[float]]] = {}

    def factor(self, now_s: float, stage: int, kind: str, spec: PoolSpec) -> float:
        """By how much a request that starts now takes longer: whether an odd number of phases has ended tells."""
        slowness = spec.slowness
        if slowness is None:
            return 1.0
        (key,) = query_keys(self._slow_key, 2**33 + 2 * stage + (kind == "accelerator"), np.array([0]))

        def uniform(place: int) -> float:
            return float(uniforms(np.array([key]), np.array([place]))[0])

        share = slowness.mean_slow_s / (slowness.mean_slow_s + slowness.mean_normal_s)
        began_slow, changes_s = self._began.setdefault((stage, kind), (uniform(0) < share, []))
        while not changes_s or changes_s[-1] <= now_s:
            slow = began_slow == (len(changes_s) % 2 == 0)
            mean_s = slowness.mean_slow_s if slow else slowness.mean_normal_s
            length_s = -mean_s * math.log1p(-uniform(len(changes_s) + 1))
            changes_s.append(length_s + changes_s[-1] if changes_s else length_s)
        ended = sum(change_s <= now_s for change_s in changes_s)
        return slowness.factor if began_slow == (ended % 2 == 0) else 1.0
