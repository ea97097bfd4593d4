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
def before(ranking: Ranking, a: int, b: int) -> bool:
    """Whether node a comes before node b."""
    if ranking.score[a] != ranking.score[b]:
        return bool(ranking.score[a] < ranking.score[b])
    if ranking.chosen[a] != ranking.chosen[b]:
        return bool(ranking.chosen[a] < ranking.chosen[b])
    return a < b


@compiled
def rank_again(ranking: Ranking, node: int) -> None:
    """Play the matches of a node again, whose score or last choice has changed."""
    score, chosen, winner = ranking.score, ranking.chosen, ranking.winner
    match = (len(score) + node) >> 1
    while match > 0:
        left, right = winner[2 * match], winner[2 * match + 1]
        first = score[left] < score[right] or (
            score[left] == score[right]
            and (chosen[left] < chosen[right] or (chosen[left] == chosen[right] and left < right))
        )
        winner[match] = left if first else right
        match >>= 1
