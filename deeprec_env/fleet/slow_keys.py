"""The slow phases of a fleet's nodes (rule 19): each node has its own, whatever happens to the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.router import Members
from deeprec_env.simulation.arrays import NodeArrays
from deeprec_env.simulation.phase_rows import PHASE
from deeprec_env.simulation.slow_phases import begin_phases
from deeprec_env.workload.noise import Keys, keys_of

_NODES = 1 << 34
"""Stands before a group's number where the noise of a query has its stage: other keys, even of the same word."""


def slow_keys(slow_key: int, members: Members) -> list[Keys]:
    """By group (nodes,) the slow key of each node, from that of the traffic.

    A node's depends on the places of its group and of itself in it, so that more nodes leave those there are as they
    were. The first node of all has the traffic's own, which is that of a node alone.
    """
    key = np.uint64(slow_key)
    found = [keys_of(key, np.uint64(_NODES + group), np.arange(count)) for group, count in enumerate(members.counts)]
    found[0][0] = key
    return found


def phases_of(node: NodeArrays, keys: Keys) -> NDArray[Any]:
    """(nodes, pools) of `phase_rows.PHASE`: the phases in which like nodes of these slow keys begin."""
    phases = np.zeros((len(keys), len(node.servers)), dtype=PHASE)
    if node.slowed.any():
        for own, key in zip(phases, keys, strict=True):
            begin_phases(node.slowness, own, key)
    return phases


def all_phases(nodes: Sequence[NodeArrays], members: Members, slow_key: int) -> NDArray[Any]:
    """`phases_of` all nodes of a fleet, whose groups' are `nodes`: (nodes, most pools of any)."""
    found = np.zeros((members.size, max(len(node.servers) for node in nodes)), dtype=PHASE)
    for first, node, keys in zip(members.first, nodes, slow_keys(slow_key, members), strict=False):
        found[first : first + len(keys), : len(node.servers)] = phases_of(node, keys)
    return found
