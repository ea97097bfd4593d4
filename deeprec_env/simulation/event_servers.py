"""Servers of the event kernel that predicts: which are busy, since when, and when they are expected to come free.

Of each pool the idle ones come first, then the busy ones by the time at which they are expected to come free: so they
are all but sorted when a prediction asks (`prediction.free_in_s`). Arrays are those of `EventState`.
"""

from __future__ import annotations

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints


@compiled
def take(
    pool: int, servers: int, busy: int, now_s: float, mean_s: float, server: Ints, started_s: Floats, expected_s: Floats
) -> int:
    """Let an idle server begin a request of mean `mean_s`; `busy` counts it. Returns its number."""
    at = servers - busy
    taken, free_s = server[pool, at], now_s + mean_s
    while at + 1 < servers and started_s[pool, at + 1] + expected_s[pool, at + 1] < free_s:
        server[pool, at] = server[pool, at + 1]
        started_s[pool, at], expected_s[pool, at] = started_s[pool, at + 1], expected_s[pool, at + 1]
        at += 1
    server[pool, at], started_s[pool, at], expected_s[pool, at] = taken, now_s, mean_s
    return taken  # type: ignore[no-any-return]


@compiled
def release(
    pool: int, servers: int, busy: int, number: int, server: Ints, started_s: Floats, expected_s: Floats
) -> None:
    """Let a busy server be idle; `busy` counts it no more."""
    idle = servers - busy - 1
    at = idle
    while server[pool, at] != number:
        at += 1
    while at > idle:
        server[pool, at] = server[pool, at - 1]
        started_s[pool, at], expected_s[pool, at] = started_s[pool, at - 1], expected_s[pool, at - 1]
        at -= 1
    server[pool, idle], started_s[pool, idle], expected_s[pool, idle] = number, 0.0, 0.0
