"""Nodes that differ, as arrays with one dimension more in front, padded to the largest of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Ints
from deeprec_env.simulation.arrays import NodeArrays, NodeState
from deeprec_env.simulation.windows import width


class StackedArrays(NamedTuple):
    """Several nodes, and how much of its share of the arrays is each one's own: the rest is never looked at."""

    stages: Ints  # (nodes,)
    plans: Ints  # (nodes,)
    width: Ints  # (nodes,) of their windows as rows
    padded: NodeArrays  # of all, after (nodes,)


def room_for(nodes: Sequence[NodeArrays], stack: StackedArrays | None = None) -> StackedArrays:
    """A stack that the nodes can be put into: the one given if it is large enough, else a new one, of nothing yet.

    A new one is no smaller than the one given in any dimension.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name in NodeArrays._fields:
        each = [np.shape(getattr(node, name)) for node in nodes]
        each += [] if stack is None else [getattr(stack.padded, name).shape[1:]]
        shapes[name] = (len(nodes), *(max(lengths) for lengths in zip(*each, strict=True)))
    if stack is not None and all(getattr(stack.padded, name).shape == shape for name, shape in shapes.items()):
        return stack
    stages, plans, widths = (np.zeros(len(nodes), dtype=np.int64) for _ in range(3))
    padded: Any = [np.zeros(shapes[name], np.asarray(getattr(nodes[0], name)).dtype) for name in NodeArrays._fields]
    return StackedArrays(stages, plans, widths, NodeArrays(*padded))


def put(stack: StackedArrays, position: int, node: NodeArrays) -> None:
    """Write a node into its place of a stack that has room for it."""
    stack.stages[position], stack.plans[position] = len(node.overhead_s), len(node.fewest)
    stack.width[position] = width(len(node.overhead_s), len(node.fewest))
    for name in NodeArrays._fields:
        array = getattr(node, name)
        getattr(stack.padded, name)[(position, *map(slice, np.shape(array)))] = array


@compiled
def node_at(stack: StackedArrays, position: int) -> NodeArrays:
    """A node of the stack, with no more stages and plans than it has."""
    stages, plans, padded = stack.stages[position], stack.plans[position], stack.padded
    return NodeArrays(
        padded.servers[position, : 2 * stages],
        padded.latency[position, :plans],
        padded.slowdown[position],
        padded.contended[position],
        padded.slowed[position],
        padded.slowness[position],
        padded.idle_w[position],
        padded.busy_w[position],
        padded.entering[position, :plans],
        padded.whole[position, :stages],
        padded.sub_batches[position],  # type: ignore[index]  # an array here
        padded.fewest[position, :plans],
        padded.overhead_s[position, :stages],
        padded.transfer_s[position, :stages],
        padded.decided_on_entry[position],  # type: ignore[index]  # an array here
        padded.mean_s[position, :plans, : 2 * stages],
        padded.batch_items[position, : 2 * stages],
        padded.max_wait_s[position, : 2 * stages],
        padded.sla_s[position],  # type: ignore[index]  # an array here
        padded.median_items[position],  # type: ignore[index]  # an array here
    )


@compiled
def state_at(states: NodeState, position: int, node: NodeArrays) -> NodeState:
    """The state of a node of the stack: with no more stages than it has, and without what others' batches need."""
    stages = len(node.overhead_s)
    carries = states.carries[position, :stages]
    if carries.shape[1] > 0 and node.batch_items.max() == 0:
        carries = np.empty((1, stages, 0), dtype=np.bool_)[0, :stages]  # of the same type, for Numba
    return NodeState(
        states.counts[position],
        states.free_s[position],
        states.phases[position],
        states.arrival_s[position],
        states.items[position],
        states.query[position],
        states.setting[position],
        states.entry_s[position, :stages],
        states.leave_s[position, :stages],
        states.offloaded[position, :stages],
        states.first[position, :stages],
        states.waiting[position, :stages],
        states.base_s[position, :stages],
        states.start_s[position, :stages],
        states.end_s[position, :stages],
        carries,
    )
