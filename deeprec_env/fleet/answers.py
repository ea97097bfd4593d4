"""Answers on their way to the router, listed by the arrival at which it knows of them. Compiled.

The arrivals of a block are known ahead. So nothing has to be kept in order, as in a heap: an answer goes on the list
of the first arrival that is no earlier than it is known, which a guide to the arrivals finds at once (an index table,
as of Chen and Asau, 1974).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled, uncounted
from deeprec_env.scenario.parts import Floats, Ints

Places = NDArray[np.int32]

NONE = -1
"""Where a list ends."""


class Answers(NamedTuple):
    """The answers to a block's queries, after those to earlier ones that the router had not got to know of."""

    newest: Places  # (arrivals + 1,) the first of the list of each arrival, and of those after all; `NONE`: empty
    after: Places  # (answers,) the next of its list
    guide: Places  # (slots + 1,) slots divide the time of the arrivals: the first one in each, or after it
    begin_s: float
    slots_per_s: float
    known_s: Floats  # (answers,) when the router knows of it
    node: Ints
    items: Ints
    latency_s: Floats


def answers_to(arrival_s: Floats, earlier: Answers | None = None) -> Answers:
    """Room for the answers to the queries of a block, and what is left of the block before; arrivals ascend."""
    count = len(arrival_s)
    kept = np.empty(0, dtype=np.int64) if earlier is None else listed(earlier.newest[-1], earlier.after)
    guide, begin_s, slots_per_s = _guide_to(arrival_s)
    found = Answers(
        newest=np.full(count + 1, NONE, dtype=np.int32),
        after=np.empty(len(kept) + count, dtype=np.int32),
        guide=guide,
        begin_s=begin_s,
        slots_per_s=slots_per_s,
        known_s=np.empty(len(kept) + count),
        node=np.empty(len(kept) + count, dtype=np.int64),
        items=np.empty(len(kept) + count, dtype=np.int64),
        latency_s=np.empty(len(kept) + count),
    )
    if earlier is not None:
        for name in ("known_s", "node", "items", "latency_s"):
            getattr(found, name)[: len(kept)] = getattr(earlier, name)[kept]
        _list_first(len(kept), arrival_s, found)
    return found


@compiled
def _list_first(count: int, arrival_s: Floats, answers: Answers) -> None:
    """Put the first answers on their lists."""
    for answer in range(count):
        _list_answer(answers, answer, 0, arrival_s)


@uncounted
def _slot(time_s: float, begin_s: float, slots_per_s: float, slots: int) -> int:
    """Never less for a later time."""
    return int(min(max((time_s - begin_s) * slots_per_s, 0.0), slots - 1.0))


@compiled
def _guide_to(arrival_s: Floats) -> tuple[Places, float, float]:
    """`guide`, `begin_s` and `slots_per_s` with as many slots as there are arrivals."""
    slots = max(len(arrival_s), 1)
    guide = np.zeros(slots + 1, dtype=np.int32)
    if len(arrival_s) == 0:
        return guide, 0.0, 1.0
    begin_s = arrival_s[0]
    slots_per_s = slots / max(arrival_s[-1] - begin_s, 1e-9)
    for time_s in arrival_s:
        guide[_slot(time_s, begin_s, slots_per_s, slots) + 1] += 1
    for slot in range(slots):
        guide[slot + 1] += guide[slot]
    return guide, begin_s, slots_per_s


@uncounted
def send_back(
    answers: Answers,
    answer: int,
    node: int,
    items: int,
    latency_s: float,
    known_s: float,
    least: int,
    arrival_s: Floats,
) -> None:
    """Let an answer be known from `known_s` on, at no earlier arrival than the `least`-th."""
    answers.node[answer], answers.items[answer] = node, items
    answers.latency_s[answer], answers.known_s[answer] = latency_s, known_s
    _list_answer(answers, answer, least, arrival_s)


@uncounted
def _list_answer(answers: Answers, answer: int, least: int, arrival_s: Floats) -> None:
    known_s, guide = answers.known_s[answer], answers.guide
    slot = _slot(known_s, answers.begin_s, answers.slots_per_s, len(guide) - 1)
    arrival, end = guide[slot], guide[slot + 1]
    while arrival < end:
        middle = (arrival + end) >> 1
        if arrival_s[middle] < known_s:
            arrival = middle + 1
        else:
            end = middle
    arrival = max(arrival, least)
    answers.after[answer], answers.newest[arrival] = answers.newest[arrival], answer


@compiled
def listed(answer: int, after: Places) -> Ints:
    """The places of a list's answers, ascending."""
    count, place = 0, answer
    while place != NONE:
        place = after[place]
        count += 1
    places = np.empty(count, dtype=np.int64)
    place = answer
    for at in range(count):
        places[at] = place
        place = after[place]
    return np.sort(places)


@compiled
def in_order(answer: int, after: Places, known_s: Floats) -> int:
    """Put a list in the order in which its answers come to be known, equal times by their places: its first."""
    if answer == NONE or after[answer] == NONE:
        return answer
    places = listed(answer, after)
    places = places[np.argsort(known_s[places], kind="mergesort")]
    for at in range(len(places) - 1):
        after[places[at]] = places[at + 1]
    after[places[-1]] = NONE
    return int(places[0])
