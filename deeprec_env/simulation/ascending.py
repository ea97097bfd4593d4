"""Sorting times, compiled: by buckets, which takes a third of the time of a sort by comparison alone."""

from __future__ import annotations

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats

_FEW, _SHORTEST_S = 32, 1e-100
_CROWD = 8
"""Mean crowd of a value's bucket above which comparisons of all are cheaper: a few values lie far from the rest."""


@compiled
def sort_times(times_s: Floats) -> None:
    """Sort times of at least 0 in place: into as many equal buckets as there are, then past their neighbours."""
    count = len(times_s)
    if count < _FEW:
        times_s.sort()
        return
    least = most = times_s[0]
    for time_s in times_s:
        least, most = min(least, time_s), max(most, time_s)
    if most - least <= max(1e-9 * most, _SHORTEST_S):  # there is nothing to divide
        times_s.sort()
        return
    scale = (count - 1) / (most - least)
    begins = np.zeros(count + 1, dtype=np.int64)
    for time_s in times_s:
        begins[int((time_s - least) * scale) + 1] += 1
    crowds = 0
    for bucket in range(count):
        crowds += begins[bucket + 1] * begins[bucket + 1]
        begins[bucket + 1] += begins[bucket]
    if crowds > _CROWD * count:
        times_s.sort()
        return
    placed = np.empty(count)
    for time_s in times_s:
        bucket = int((time_s - least) * scale)
        placed[begins[bucket]] = time_s
        begins[bucket] += 1
    for i in range(count):
        time_s, at = placed[i], i
        while at > 0 and times_s[at - 1] > time_s:
            times_s[at] = times_s[at - 1]
            at -= 1
        times_s[at] = time_s
