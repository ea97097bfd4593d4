"""Which node has the fewest queries in flight, kept as they come and go: a `Ranking` where a match is one comparison.

The count and what settles ties, the turn in which a node was chosen last, are one whole number. So the winner of a
match is the lesser of two, without a branch that nobody could guess, and the winner of all is known by its turn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprec_env.jit import uncounted
from deeprec_env.scenario.parts import Ints

_TURN_BITS = 32
_QUERY = 1 << _TURN_BITS
"""One query in flight, in a key."""

_LAST_TURN = _QUERY - 1


class Fewest(NamedTuple):
    """Of a block of queries: turns are numbered anew for each, first those of all nodes in their order."""

    key: Ints  # (2 places,) as in `Ranking`: queries in flight x 2^32 + turn
    node: Ints  # (nodes + queries,) by turn
    turn: Ints  # (1,) the next one


def fewest_of(nodes: int, queries: int, before: Fewest | None = None) -> Fewest:
    """Nodes at the begin of a block of so many queries: as they were `before`, or idle and never chosen."""
    places = 1 << max(0, nodes - 1).bit_length()
    count, turn = np.zeros(nodes, dtype=np.int64), np.arange(nodes)
    if before is not None:
        own = before.key[places : places + nodes]
        count, turn = own >> _TURN_BITS, own & _LAST_TURN
    key, node = np.full(2 * places, np.iinfo(np.int64).max), np.empty(nodes + queries, dtype=np.int64)
    node[:nodes] = np.argsort(turn)
    key[places + node[:nodes]] = count[node[:nodes]] * _QUERY + np.arange(nodes)
    while places > 1:
        key[places // 2 : places] = np.minimum(key[places : 2 * places : 2], key[places + 1 : 2 * places : 2])
        places //= 2
    return Fewest(key, node, np.array([nodes]))


@uncounted
def first(fewest: Fewest) -> int:
    """The node of the fewest queries in flight; ties: the one chosen longest ago, then the lowest number."""
    return int(fewest.node[fewest.key[1] & _LAST_TURN])


@uncounted
def first_among(fewest: Fewest, nodes: Ints) -> int:
    """That of some nodes."""
    key, best = fewest.key, nodes[0]
    places = len(key) // 2
    for node in nodes:
        best = node if key[places + node] < key[places + best] else best
    return int(best)


@uncounted
def one_more(fewest: Fewest, node: int, ranks: bool) -> None:
    """A node is chosen for the next query; without `ranks` nobody asks for the first of all."""
    key, turn = fewest.key, fewest.turn[0]
    place = len(key) // 2 + node
    key[place] = (((key[place] >> _TURN_BITS) + 1) << _TURN_BITS) + turn
    fewest.node[turn] = node
    fewest.turn[0] = turn + 1
    if ranks:
        _rank_again(key, place)


@uncounted
def one_less(fewest: Fewest, node: int, ranks: bool) -> None:
    """A query of a node is no longer in flight."""
    key = fewest.key
    place = len(key) // 2 + node
    key[place] -= _QUERY
    if ranks:
        _rank_again(key, place)


@uncounted
def _rank_again(key: Ints, place: int) -> None:
    """As `ranking.rank_again`."""
    own = key[place]
    while place > 1:
        own = min(own, key[place ^ 1])
        place >>= 1
        key[place] = own
