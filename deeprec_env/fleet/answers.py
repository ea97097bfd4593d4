"""Answers on their way to the router: a binary heap by the time at which it knows of them. Compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints


class Answers(NamedTuple):
    """A heap of places in the arrays behind it, which hold what is remembered of each query in flight."""

    known_s: Floats  # the heap: when the router knows of it
    place: Ints  # the heap: where it is below
    turn: Ints  # which query it was, in the order of arrival; of equal times the first comes first
    node: Ints
    items: Ints
    latency_s: Floats
    unused: Ints  # places: with `due` answers in the heap, the first `len(unused) - due` are free


def no_answers(room: int, before: Answers | None = None, due: int = 0) -> Answers:
    """Room for that many; `due` of them are those of `before`."""
    fresh = Answers(
        np.empty(room),
        np.empty(room, dtype=np.int64),
        np.empty(room, dtype=np.int64),
        np.empty(room, dtype=np.int64),
        np.empty(room, dtype=np.int64),
        np.empty(room),
        np.arange(room, dtype=np.int64),
    )
    if before is not None and due:
        held = before.place[:due]
        fresh.known_s[:due] = before.known_s[:due]
        fresh.place[:due] = np.arange(due)
        for name in ("turn", "node", "items", "latency_s"):
            getattr(fresh, name)[:due] = getattr(before, name)[held]
        fresh.unused[: room - due] = np.arange(due, room)
    return fresh


@compiled
def push(known_s: Floats, places: Ints, turns: Ints, due: int, time_s: float, own: int) -> None:
    """Add to a heap of `due` answers the one whose place is `own`; its turn is there already."""
    hole, turn = due, turns[own]
    while hole > 0:
        above = (hole - 1) >> 1
        if known_s[above] < time_s or (known_s[above] == time_s and turns[places[above]] < turn):
            break
        known_s[hole], places[hole] = known_s[above], places[above]
        hole = above
    known_s[hole], places[hole] = time_s, own


@compiled
def drop_first(known_s: Floats, places: Ints, turns: Ints, due: int) -> None:
    """Take the first answer out of a heap that has `due` others.

    The hole sinks to the bottom before the last one is compared, which is most often among the latest, and rises again
    where it must.
    """
    last_s, last = known_s[due], places[due]
    hole, child = 0, 1
    while child + 1 < due:
        left_s, right_s = known_s[child], known_s[child + 1]
        if left_s == right_s:
            child += turns[places[child + 1]] < turns[places[child]]
        else:
            child += right_s < left_s
        known_s[hole], places[hole] = known_s[child], places[child]
        hole, child = child, 2 * child + 1
    if child < due:
        known_s[hole], places[hole] = known_s[child], places[child]
        hole = child
    push(known_s, places, turns, hole, last_s, last)
