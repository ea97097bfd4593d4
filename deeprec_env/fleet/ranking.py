"""Which node comes first, kept as scores change: a tournament over all nodes, O(log nodes) a change. Compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprec_env.jit import uncounted
from deeprec_env.scenario.parts import Floats, Ints


class Ranking(NamedTuple):
    """The lowest score wins; ties: the node chosen longest ago, then the lowest number (rule 18).

    Every array is (2 places,), as many places as a power of two has room for the nodes: node i stands at places + i,
    and at 1 to places - 1 the winner of each match, that of places 2 m and 2 m + 1 at m.
    """

    score: Floats  # infinite behind the last node
    chosen: Ints  # for the n-th query; 0: never
    node: Ints


def ranking_of(nodes: int) -> Ranking:
    """All nodes at score 0, never chosen."""
    places = 1 << max(0, nodes - 1).bit_length()
    score, node = np.zeros(2 * places), np.zeros(2 * places, dtype=np.int64)
    score[places + nodes :] = np.inf
    node[places:] = np.arange(places)
    for match in range(places - 1, 0, -1):
        node[match], score[match] = node[2 * match], score[2 * match]
    return Ranking(score, np.zeros(2 * places, dtype=np.int64), node)


@uncounted
def comes_before(score: Floats, chosen: Ints, a: int, b: int) -> bool:
    """Whether what stands at place a comes before what stands at b, a place behind it."""
    return bool((score[a] < score[b]) | ((score[a] == score[b]) & (chosen[a] <= chosen[b])))


@uncounted
def rank_again(score: Floats, chosen: Ints, node: Ints, place: int) -> None:
    """Play the matches again of what stands at a place and has changed.

    Who has won so far is held in local names, so that the losers on its way up can be looked at ahead of it; and it is
    chosen without branches, which nobody could guess.
    """
    own, turn, winner = score[place], chosen[place], node[place]
    while place > 1:
        other = place ^ 1
        its, its_turn, its_node = score[other], chosen[other], node[other]
        earlier = (turn < its_turn) | ((turn == its_turn) & (place < other))
        stays = (own < its) | ((own == its) & earlier)
        own, turn, winner = own if stays else its, turn if stays else its_turn, winner if stays else its_node
        place >>= 1
        score[place], chosen[place], node[place] = own, turn, winner
