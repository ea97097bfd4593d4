"""Which node comes first, kept as scores change: a tournament over all nodes, O(log nodes) a change. Compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints


class Ranking(NamedTuple):
    """The lowest score wins; ties: the node chosen longest ago, then the lowest number (rule 18)."""

    score: Floats  # (leaves,) infinite behind the last node
    chosen: Ints  # (leaves,) for the n-th query; 0: never
    winner: Ints  # (2 leaves,) of each match; leaf i is entry leaves + i, the final is entry 1


def ranking_of(nodes: int) -> Ranking:
    """All nodes at score 0, never chosen."""
    leaves = 1 << max(0, nodes - 1).bit_length()
    score = np.where(np.arange(leaves) < nodes, 0.0, np.inf)
    winner = np.zeros(2 * leaves, dtype=np.int64)
    winner[leaves:] = np.arange(leaves)
    for match in range(leaves - 1, 0, -1):
        winner[match] = winner[2 * match]
    return Ranking(score, np.zeros(leaves, dtype=np.int64), winner)


@compiled
def comes_before(score: Floats, chosen: Ints, a: int, b: int) -> bool:
    """Whether node a comes before node b."""
    if score[a] != score[b]:
        return bool(score[a] < score[b])
    if chosen[a] != chosen[b]:
        return bool(chosen[a] < chosen[b])
    return a < b


@compiled
def rank_again(score: Floats, chosen: Ints, winner: Ints, node: int) -> None:
    """Play the matches of a node again, whose score or last choice has changed."""
    match = (len(score) + node) >> 1
    while match > 0:
        left, right = winner[2 * match], winner[2 * match + 1]
        winner[match] = left if comes_before(score, chosen, left, right) else right
        match >>= 1
