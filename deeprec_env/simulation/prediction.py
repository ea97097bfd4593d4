"""When a query would complete at a pool, as a node that knows mean service times alone predicts it (rule 15).

Compiled, and called by both engines: they say what is in service and what waits, and no more. Noise is never looked at.
"""

from __future__ import annotations

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats

NANOSECONDS = 1e9


@compiled
def whole_ns(seconds: float, count: int) -> int:
    """The work of `count` requests of so many seconds, each in whole nanoseconds: sums of these have no order."""
    return np.int64(np.rint(seconds * NANOSECONDS)) * count  # type: ignore[return-value]


@compiled
def free_in_s(now_s: float, start_s: Floats, mean_s: Floats) -> Floats:
    """In how many seconds each server of a pool is expected to come free, ascending.

    `start_s` and `mean_s` (servers,): when its request began, and the mean then expected of it; 0 and 0 if it is idle.
    """
    free_s = np.empty(len(start_s))
    for server in range(len(start_s)):
        left_s = mean_s[server] - (now_s - start_s[server])
        at = server
        left_s = max(0.0, left_s)
        while at > 0 and free_s[at - 1] > left_s:
            free_s[at] = free_s[at - 1]
            at -= 1
        free_s[at] = left_s
    return free_s


@compiled
def latest_end_s(free_s: Floats, ahead_ns: int, large: int, large_s: float, small: int, small_s: float) -> float:
    """In how many seconds the last of a query's requests ends at a pool whose servers come free in `free_s`, ascending.

    First `ahead_ns`, the work that goes before it, is poured on the servers like water. Then its own requests, `large`
    of `large_s` seconds and `small` of `small_s`, one after another take the server that is free first. `free_s` is
    overwritten.
    """
    servers = len(free_s)
    if ahead_ns > 0:
        below_s, filled, level_s = ahead_ns / NANOSECONDS, 0, 0.0
        while filled < servers and (filled == 0 or level_s > free_s[filled]):
            below_s += free_s[filled]
            filled += 1
            level_s = below_s / filled
        for server in range(filled):
            free_s[server] = level_s
    latest_s = 0.0
    for request in range(large + small):  # the ascending array is a heap, and stays one
        ends_s = free_s[0] + (large_s if request < large else small_s)
        latest_s = max(latest_s, ends_s)
        hole, child = 0, 1
        while child < servers:
            child += child + 1 < servers and free_s[child + 1] < free_s[child]
            if free_s[child] >= ends_s:
                break
            free_s[hole] = free_s[child]
            hole, child = child, 2 * child + 1
        free_s[hole] = ends_s
    return latest_s
