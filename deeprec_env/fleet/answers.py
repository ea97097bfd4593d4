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
    unused: Ints  # places: the first `len(unused) - due` are free


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
def push(answers: Answers, due: int, known_s: float, turn: int, node: int, items: int, latency_s: float) -> None:
    """Add an answer to `due` others."""
    times_s, places, turns = answers.known_s, answers.place, answers.turn
    own = answers.unused[len(answers.unused) - due - 1]
    turns[own], answers.node[own], answers.items[own], answers.latency_s[own] = turn, node, items, latency_s
    hole = due
    while hole > 0:
        above = (hole - 1) >> 1
        if times_s[above] < known_s or (times_s[above] == known_s and turns[places[above]] < turn):
            break
        times_s[hole], places[hole] = times_s[above], places[above]
        hole = above
    times_s[hole], places[hole] = known_s, own


@compiled
def pop(answers: Answers, due: int) -> int:
    """Take the first of `due` answers out of the heap; its place, good until the next `push`."""
    times_s, places, turns = answers.known_s, answers.place, answers.turn
    first, last = places[0], due - 1
    answers.unused[len(answers.unused) - due] = first
    last_s, last_place = times_s[last], places[last]
    hole, child = 0, 1
    while child < last:
        if child + 1 < last and (
            times_s[child + 1] < times_s[child]
            or (times_s[child + 1] == times_s[child] and turns[places[child + 1]] < turns[places[child]])
        ):
            child += 1
        if last_s < times_s[child] or (last_s == times_s[child] and turns[last_place] < turns[places[child]]):
            break
        times_s[hole], places[hole] = times_s[child], places[child]
        hole, child = child, 2 * child + 1
    times_s[hole], places[hole] = last_s, last_place
    return first  # type: ignore[no-any-return]
