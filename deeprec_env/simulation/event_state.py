"""The memory of the event kernel beside `NodeState`: what waits, what is in service, and what happens next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.arrays import HELD, NodeArrays, NodeState
from deeprec_env.workload.noise import Keys

ARRIVED, DUE = 0, 1
"""Entries of `EventState.counts`: how many of the queries held have arrived, and how many events are in the heap."""


class EventState(NamedTuple):
    """What the event kernel remembers from one call to the next, for the queries that a `NodeState` holds.

    An event is a completion or an entry to a stage; arrivals ascend and are no part of the heap. Sub-batches are
    numbered as in `NodeState`; each is at one stage at a time, or on its way to it. Stacked states have one more
    dimension in front: the node.
    """

    counts: Ints  # (2,)
    due_s: Floats  # (events,) a binary heap by time, then by `event`
    event: Ints  # (events,) the sub-batch, from `event_kernel.ENTRIES` on if it enters and does not complete
    busy: Ints  # (pools,) servers
    head: Ints  # (pools,) of the queue: the first that waits
    tail: Ints  # (pools,) of the queue: after the last that waits
    queue: Ints  # (pools, sub-batches) with requests that have not started, by the order of service
    noise_key: Keys  # (queries,) of the traffic that they are of
    stage: Ints  # (sub-batches,) where it is; the others, but `key`, are about this stage
    key: Keys  # (sub-batches,) noise of the query there
    largest: Ints  # (sub-batches,) most items of a request
    items: Ints  # (sub-batches,) that no request which has started holds
    started: Ints  # (sub-batches,) requests
    unfinished: Ints  # (sub-batches,) requests


_OF_POOLS = ("busy", "head", "tail")
_OF_SUB_BATCHES = ("stage", "key", "largest", "items", "started", "unfinished")


def empty_events(node: NodeArrays, queries: int, nodes: tuple[int, ...] = ()) -> EventState:
    """The memory for an idle node with room for n queries; `nodes` (n,) stacks n of them."""
    pools, parts = len(node.servers), queries * node.sub_batches
    events = parts + int(node.servers.sum())  # every sub-batch on its way, and every server busy
    return EventState(
        counts=np.zeros((*nodes, 2), dtype=np.int64),
        due_s=np.empty((*nodes, events)),
        event=np.empty((*nodes, events), dtype=np.int64),
        busy=np.zeros((*nodes, pools), dtype=np.int64),
        head=np.zeros((*nodes, pools), dtype=np.int64),
        tail=np.zeros((*nodes, pools), dtype=np.int64),
        queue=np.empty((*nodes, pools, parts), dtype=np.int64),
        noise_key=np.empty((*nodes, queries), dtype=np.uint64),
        stage=np.empty((*nodes, parts), dtype=np.int64),
        key=np.empty((*nodes, parts), dtype=np.uint64),
        largest=np.empty((*nodes, parts), dtype=np.int64),
        items=np.empty((*nodes, parts), dtype=np.int64),
        started=np.empty((*nodes, parts), dtype=np.int64),
        unfinished=np.empty((*nodes, parts), dtype=np.int64),
    )


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
    arrived, due = events.counts
    copy.counts[:] = arrived - query, due
    copy.due_s[:due], copy.event[:due] = events.due_s[:due], events.event[:due] - begins
    copy.busy[:] = events.busy
    for pool, (head, tail) in enumerate(zip(events.head, events.tail, strict=True)):
        copy.queue[pool, : tail - head] = events.queue[pool, head:tail] - begins
        copy.tail[pool] = tail - head
    copy.noise_key[: held - query] = events.noise_key[query:held]
    for name in _OF_SUB_BATCHES:
        part = getattr(events, name)[begins : held * node.sub_batches]
        getattr(copy, name)[: len(part)] = part
    return copy
