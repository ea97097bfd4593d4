"""What happens next: the event kernel's binary heap, by time and then by number, which is the order of rule 6.

An event's number holds a sub-batch, so that events of one instant go by sub-batch: completions first, then entries to a
stage, then the timers of batches, which do nothing but let servers look at their queues.
"""

from __future__ import annotations

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.bounds import MOST_SERVERS
from deeprec_env.scenario.parts import Floats, Ints

PLACES = 1 << 20
"""A completion's number is the sub-batch times this, and the server's place in its pool: above all places there are."""

NO_SERVER = PLACES - 1
"""The place of a completion that frees no server: of a batch's requests but the first."""

ENTRIES = 1 << 60
"""Events from this number on are entries: the sub-batch times `PLACES`."""

TIMERS = 1 << 61
"""Events from this number on are timers: the pool."""

assert MOST_SERVERS < NO_SERVER


@compiled
def rise(times_s: Floats, numbers: Ints, hole: int, due_s: float, event: int) -> None:
    """Fill a hole at the bottom of the heap with an event, which rises as far as it must."""
    while hole > 0:
        above = (hole - 1) >> 1
        if times_s[above] < due_s or (times_s[above] == due_s and numbers[above] <= event):
            break
        times_s[hole], numbers[hole] = times_s[above], numbers[above]
        hole = above
    times_s[hole], numbers[hole] = due_s, event


@compiled
def drop_first(times_s: Floats, numbers: Ints, last: int) -> None:
    """Take the first event from the heap, whose last one is at `last`.

    The last one, which takes its place, is most often among the latest: so the hole sinks to the bottom before it is
    compared, and rises again where it must.
    """
    hole, child = 0, 1
    while child + 1 < last:
        left_s, right_s = times_s[child], times_s[child + 1]
        child += (right_s < left_s) | ((right_s == left_s) & (numbers[child + 1] < numbers[child]))
        times_s[hole], numbers[hole] = times_s[child], numbers[child]
        hole, child = child, 2 * child + 1
    if child < last:
        times_s[hole], numbers[hole] = times_s[child], numbers[child]
        hole = child
    rise(times_s, numbers, hole, times_s[last], numbers[last])


@compiled
def renumbered(event: int, place: Ints, sub_batches: int) -> int:
    """An event whose query has another place, (queries,) by the one before."""
    if event >= TIMERS:
        return np.int64(event)  # type: ignore[return-value]
    kind = ENTRIES if event >= ENTRIES else 0
    part, server = divmod(event - kind, PLACES)
    query, position = divmod(part, sub_batches)
    return np.int64(kind + (place[query] * sub_batches + position) * PLACES + server)  # type: ignore[return-value]
