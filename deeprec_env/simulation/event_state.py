"""The memory of the event kernel beside `NodeState`: what waits, what is in service, and what happens next."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import HELD, NodeArrays, NodeState
from deeprec_env.simulation.event_heap import renumbered
from deeprec_env.workload.noise import Keys

ARRIVED, DUE, TURN, SORTED = 0, 1, 2, 3
"""Entries of `EventState.counts`: how many of the queries held have arrived, how many events are in the heap, how many
times a sub-batch has joined a queue, and the order that the queues are in."""


class EventState(NamedTuple):
    """What the event kernel remembers from one call to the next, for the queries that a `NodeState` holds.

    An event is a completion, an entry to a stage or a timer; arrivals ascend and are no part of the heap. Sub-batches
    are numbered as in `NodeState`; each is at one stage at a time, or on its way to it. Stacked states have one more
    dimension in front: the node.
    """

    counts: Ints  # (4,)
    due_s: Floats  # (events,) a binary heap by time, then by `event`
    event: Ints  # (events,) see `event_heap`
    busy: Ints  # (pools,) servers
    started_s: Floats  # (pools, servers) when the request in service began; 0 of an idle server
    expected_s: Floats  # (pools, servers) the mean service that was to be expected then; 0 of an idle server
    idle: Ints  # (pools, servers) the idle ones, after as many entries as are busy
    timed: NDArray[np.bool_]  # (pools,) whether a timer is set
    head: Ints  # (pools,) of the queue: the first that waits
    tail: Ints  # (pools,) of the queue: after the last that waits
    queue: Ints  # (pools, sub-batches) with requests that have not started, by the order of service
    waiting: Ints  # (pools,) requests in the queue
    waiting_ns: Ints  # (pools,) their mean work without slow-down, in whole nanoseconds
    noise_key: Keys  # (queries,) of the traffic that they are of
    stage: Ints  # (sub-batches,) where it is; the others are about this stage
    key: Keys  # (sub-batches,) noise of the query there
    requests: Ints  # (sub-batches,) all that it has; see `splitting.Cut`, as for the next three
    large: Ints  # (sub-batches,)
    large_items: Ints  # (sub-batches,)
    small_items: Ints  # (sub-batches,)
    started: Ints  # (sub-batches,) requests
    unfinished: Ints  # (sub-batches,) requests
    turn: Ints  # (sub-batches,) its place among all that joined a queue
    size: Ints  # (sub-batches,) items of the whole query there
    slack_s: Floats  # (sub-batches,) when its first request should begin to end in time


_OF_SUB_BATCHES = (
    *("stage", "key", "requests", "large", "large_items", "small_items", "started", "unfinished", "turn", "size"),
    "slack_s",
)


def empty_events(node: NodeArrays, queries: int, nodes: tuple[int, ...] = ()) -> EventState:
    """The memory for an idle node with room for n queries; `nodes` (n,) stacks n of them."""
    pools, most, each = node.servers.shape[-1], node.slowdown.shape[-1] - 1, int(np.max(node.sub_batches))
    parts = queries * each
    # Every sub-batch on its way or in a batch, every server busy, every timer set.
    events = parts + int(np.max(node.servers.sum(axis=-1))) + pools
    dtypes: dict[str, Any] = {"key": np.uint64, "slack_s": np.float64}
    of_sub_batches: Any = {name: np.empty((*nodes, parts), dtypes.get(name, np.int64)) for name in _OF_SUB_BATCHES}
    return EventState(
        counts=np.zeros((*nodes, 4), dtype=np.int64),
        due_s=np.empty((*nodes, events)),
        event=np.empty((*nodes, events), dtype=np.int64),
        busy=np.zeros((*nodes, pools), dtype=np.int64),
        started_s=np.zeros((*nodes, pools, most)),
        expected_s=np.zeros((*nodes, pools, most)),
        idle=np.broadcast_to(np.arange(most), (*nodes, pools, most)).copy(),
        timed=np.zeros((*nodes, pools), dtype=np.bool_),
        head=np.zeros((*nodes, pools), dtype=np.int64),
        tail=np.zeros((*nodes, pools), dtype=np.int64),
        queue=np.empty((*nodes, pools, parts), dtype=np.int64),
        waiting=np.zeros((*nodes, pools), dtype=np.int64),
        waiting_ns=np.zeros((*nodes, pools), dtype=np.int64),
        noise_key=np.empty((*nodes, queries), dtype=np.uint64),
        **of_sub_batches,
    )


def make_idle(events: EventState) -> None:
    """Let nodes be idle, with no queries."""
    for array in (events.counts, events.busy, events.started_s, events.expected_s, events.timed):
        array[:] = 0
    for array in (events.head, events.tail, events.waiting, events.waiting_ns):
        array[:] = 0
    events.idle[:] = np.arange(events.idle.shape[-1])


def events_with_room(node: NodeArrays, events: EventState, queries: int) -> EventState:
    """The memory with room for at least that many queries: itself, or a copy twice as large."""
    room = events.noise_key.shape[-1]
    if queries <= room:
        return events
    larger = empty_events(node, max(queries, 2 * room), events.counts.shape[:-1])
    for array, copy in zip(events, larger, strict=True):
        copy[tuple(slice(length) for length in array.shape)] = array
    return larger


def events_tail(node: NodeArrays, state: NodeState, events: EventState, query: int, queries: int) -> EventState:
    """A copy for the queries from the `query`-th on, with room for more: the companion of `arrays.tail`.

    `state` is what was given to it: the queries before have completed.
    """
    held, begins = int(state.counts[HELD]), query * node.sub_batches
    copy = empty_events(node, held - query + queries)
    due = int(events.counts[DUE])
    copy.counts[:] = events.counts
    copy.counts[ARRIVED] -= query
    place = np.arange(held) - query
    copy.due_s[:due] = events.due_s[:due]
    for at in range(due):
        copy.event[at] = renumbered(events.event[at], place, node.sub_batches)
    for name in ("busy", "started_s", "expected_s", "idle", "timed", "waiting", "waiting_ns"):
        getattr(copy, name)[:] = getattr(events, name)
    for pool, (head, tail) in enumerate(zip(events.head, events.tail, strict=True)):
        copy.queue[pool, : tail - head] = events.queue[pool, head:tail] - begins
        copy.tail[pool] = tail - head
    copy.noise_key[: held - query] = events.noise_key[query:held]
    for name in _OF_SUB_BATCHES:
        part = getattr(events, name)[begins : held * node.sub_batches]
        getattr(copy, name)[: len(part)] = part
    return copy


@compiled
def events_at(states: EventState, position: int) -> EventState:
    """The memory of a node of the stack."""
    return EventState(
        states.counts[position],
        states.due_s[position],
        states.event[position],
        states.busy[position],
        states.started_s[position],
        states.expected_s[position],
        states.idle[position],
        states.timed[position],
        states.head[position],
        states.tail[position],
        states.queue[position],
        states.waiting[position],
        states.waiting_ns[position],
        states.noise_key[position],
        states.stage[position],
        states.key[position],
        states.requests[position],
        states.large[position],
        states.large_items[position],
        states.small_items[position],
        states.started[position],
        states.unfinished[position],
        states.turn[position],
        states.size[position],
        states.slack_s[position],
    )
