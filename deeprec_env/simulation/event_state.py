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

ARRIVED, DUE, TURN, SORTED, LEFT = 0, 1, 2, 3, 4
"""Entries of `EventState.counts`: how many of the queries held have arrived, how many events are in the heap, how many
times a sub-batch has joined a queue, the order that the queues are in, and how many queries are in `left`."""


POOL = np.dtype(
    [
        ("busy", np.int64),  # servers
        ("head", np.int64),  # of the queue: the first that waits
        ("tail", np.int64),  # of the queue: after the last that waits
        ("waiting", np.int64),  # requests in the queue
        ("waiting_ns", np.int64),  # their mean work without slow-down, in whole nanoseconds
        ("timed", np.bool_),  # whether a timer is set
    ]
)
"""What is remembered of a pool."""

PART = np.dtype(
    [
        ("stage", np.int64),  # where it is; the rest is about this stage
        ("key", np.uint64),  # noise of the query there
        ("requests", np.int64),  # all that it has; see `splitting.Cut`, as for the next three
        ("large", np.int64),
        ("large_items", np.int64),
        ("small_items", np.int64),
        ("started", np.int64),  # requests
        ("unfinished", np.int64),  # requests
        ("turn", np.int64),  # its place among all that joined a queue
        ("size", np.int64),  # items of the whole query there
        ("slack_s", np.float64),  # when its first request should begin to end in time
    ]
)
"""What is remembered of a sub-batch."""


class EventState(NamedTuple):
    """What the event kernel remembers from one call to the next, for the queries that a `NodeState` holds.

    An event is a completion, an entry to a stage or a timer; arrivals ascend and are no part of the heap. Sub-batches
    are numbered as in `NodeState`; each is at one stage at a time, or on its way to it. Stacked states have one more
    dimension in front: the node.
    """

    counts: Ints  # (5,)
    due_s: Floats  # (events,) a binary heap by time, then by `event`
    event: Ints  # (events,) see `event_heap`
    pools: NDArray[Any]  # (pools,) of `POOL`
    server: Ints  # (pools, servers) their numbers, in the order of `event_servers`, as are the next two
    started_s: Floats  # (pools, servers) when the request in service began; 0 of an idle server
    expected_s: Floats  # (pools, servers) the mean service that was to be expected then; 0 of an idle server
    queue: Ints  # (pools, sub-batches) with requests that have not started, by the order of service
    noise_key: Keys  # (queries,) of the traffic that they are of
    parts: NDArray[Any]  # (sub-batches,) of `PART`
    left: Ints  # (queries,) those that completed or were shed, in this order; none where nobody asks


def empty_events(node: NodeArrays, queries: int, nodes: tuple[int, ...] = ()) -> EventState:
    """The memory for an idle node with room for n queries; `nodes` (n,) stacks n of them."""
    pools, most, each = node.servers.shape[-1], node.slowdown.shape[-1] - 1, int(np.max(node.sub_batches))
    parts = queries * each
    # Every sub-batch on its way or in a batch, every server busy (as many as any pool has), every timer set.
    events = parts + pools * (most + 1)
    return EventState(
        counts=np.zeros((*nodes, 5), dtype=np.int64),
        due_s=np.empty((*nodes, events)),
        event=np.empty((*nodes, events), dtype=np.int64),
        pools=np.zeros((*nodes, pools), dtype=POOL),
        server=np.broadcast_to(np.arange(most), (*nodes, pools, most)).copy(),
        started_s=np.zeros((*nodes, pools, most)),
        expected_s=np.zeros((*nodes, pools, most)),
        queue=np.empty((*nodes, pools, parts), dtype=np.int64),
        noise_key=np.empty((*nodes, queries), dtype=np.uint64),
        parts=np.empty((*nodes, parts), dtype=PART),
        left=np.empty((*nodes, 0), dtype=np.int64),
    )


def make_idle(events: EventState) -> None:
    """Let nodes be idle, with no queries."""
    for array in (events.counts, events.started_s, events.expected_s):
        array[:] = 0
    events.pools[:] = np.zeros((), dtype=POOL)
    events.server[:] = np.arange(events.server.shape[-1])


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
    for name in ("pools", "server", "started_s", "expected_s"):
        getattr(copy, name)[:] = getattr(events, name)
    for pool, (head, tail) in enumerate(zip(events.pools["head"], events.pools["tail"], strict=True)):
        copy.queue[pool, : tail - head] = events.queue[pool, head:tail] - begins
        copy.pools["head"][pool], copy.pools["tail"][pool] = 0, tail - head
    copy.noise_key[: held - query] = events.noise_key[query:held]
    parts = events.parts[begins : held * node.sub_batches]
    copy.parts[: len(parts)] = parts
    return copy


@compiled
def events_at(states: EventState, position: int, holder: int) -> EventState:
    """The memory of a node of the stack; what is by query and sub-batch is that of `holder`, most often the node."""
    return EventState(
        states.counts[position],
        states.due_s[position],
        states.event[position],
        states.pools[position],
        states.server[position],
        states.started_s[position],
        states.expected_s[position],
        states.queue[position],
        states.noise_key[holder],
        states.parts[holder],
        states.left[holder],
    )
