"""A node and its state as arrays, for compiled code."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.latency.rows import row_of
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.simulation.kernel_choice import decided_on_entry
from deeprec_env.simulation.mean_tables import mean_tables, median_items

CPU, ACCELERATOR = 0, 1
"""Of stage s, pool 2 s + 1 of these."""

ADMITTED, HELD, OPEN, BEFORE, WAITING = 0, 1, 2, 3, 4
"""Entries of `NodeState.counts`: queries admitted so far, how many of them are held, how many of the first of these had
completed at the last window's end, how many were admitted before the first of the traffic at hand, and by stage how
many are in `waiting`."""


class NodeArrays(NamedTuple):
    """A node that nothing changes. Pool 2 s is stage s's CPU, pool 2 s + 1 its accelerator (0 servers: none)."""

    servers: Ints  # (pools,)
    latency: Floats  # (plans, pools, longest row), see `latency.rows`
    slowdown: Floats  # (pools, most servers + 1), by busy servers
    contended: NDArray[np.bool_]  # (pools,) whether any slow-down differs from 1
    slowed: NDArray[np.bool_]  # (pools,) whether there are slow phases
    slowness: Floats  # (pools, 3), see `slow_phases`
    idle_w: Floats  # (pools,)
    busy_w: Floats  # (pools,)
    entering: Ints  # (plans, stages) most items of a query that enter a stage, 0: it is skipped
    whole: NDArray[np.bool_]  # (stages,) whether queries are never split
    sub_batches: int  # of every query; those that it has too few items for are empty
    fewest: Ints  # (plans,) the fewest items that a large query has at any stage it visits
    overhead_s: Floats  # (stages,)
    transfer_s: Floats  # (stages,)
    decided_on_entry: bool  # see `kernel_choice`; of those that are, the fields below are of no use
    mean_s: Floats  # (plans, pools, items + 1) mean service of a request, without slow-down and overhead
    batch_items: Ints  # (pools,) most items of a batch, 0: requests are served one by one
    max_wait_s: Floats  # (pools,) of a batch that is not full
    sla_s: float
    median_items: int  # of a query


class NodeState(NamedTuple):
    """What a node holds of its queries, in their order, and their requests. Times in seconds, infinite where unknown.

    A query that is shed leaves at NaN. Requests that there is room for, but that do not come about, since the query is
    shed or offloaded by prediction, start and end at minus infinity.

    Room for some queries and requests; how many are held says `counts`. Query q is the sub-batches `q * sub_batches` to
    `(q + 1) * sub_batches`, and sub-batch b has at stage s the requests `first[s, b]` to `first[s, b + 1]`. Stacked
    states have one more dimension in front: the node.
    """

    counts: Ints  # (4 + stages,)
    free_s: Floats  # (pools, most servers): when each server comes free, a binary heap
    phases: NDArray[Any]  # (pools,) of `slow_phases.PHASE`
    arrival_s: Floats  # (queries,)
    items: Ints  # (queries,)
    query: Ints  # (queries,) the numbers by which they meet their noise
    setting: Floats  # (queries, controls) in force at their arrival: `SettingNumbers` as rows
    entry_s: Floats  # (stages, sub-batches)
    leave_s: Floats  # (stages, sub-batches)
    offloaded: NDArray[np.bool_]  # (stages, sub-batches)
    first: Ints  # (stages, sub-batches + 1)
    waiting: Ints  # (stages, sub-batches): those that have arrived but not been served there, ascending
    base_s: Floats  # (stages, requests)
    start_s: Floats  # (stages, requests)
    end_s: Floats  # (stages, requests)
    carries: NDArray[np.bool_]  # (stages, requests) whether it takes its batch's service; none: all do


_OF_QUERIES = ("arrival_s", "items", "query", "setting")
_OF_SUB_BATCHES = ("entry_s", "leave_s", "offloaded")
_OF_REQUESTS = ("base_s", "start_s", "end_s", "carries")


def node_arrays(scenario: Scenario, largest: int = 0) -> NodeArrays:
    """The scenario's node, for queries of up to `largest` items, if that is more than its own.

    Latencies that are no row of numbers have an empty one: see `all_rows`.
    """
    from deeprec_env.simulation.slow_phases import slowness_row  # Numba is loaded with the first node

    pools = [pool for stage in scenario.stages for pool in (stage.cpu, stage.accelerator)]
    rows = {
        (plan, 2 * position + KINDS.index(kind)): row
        for plan, stages in enumerate(scenario.planned_stages)
        for position, stage in enumerate(stages)
        for kind, pool in stage.pools().items()
        if (row := row_of(pool.latency)) is not None
    }
    longest = max((len(row) for row in rows.values()), default=1)
    latency = np.zeros((len(scenario.planned_stages), len(pools), longest))
    for (plan, position), row in rows.items():
        latency[plan, position, : len(row)] = row
    batching = [None if pool is None else pool.batching for pool in pools]
    decided = decided_on_entry(scenario)
    most = max(pool.servers for pool in pools if pool is not None)
    slowdown = np.ones((len(pools), most + 1))
    for position, pool in enumerate(pools):
        if pool is not None:
            slowdown[position, : pool.servers + 1] = [pool.slowdown(busy) for busy in range(pool.servers + 1)]
    return NodeArrays(
        servers=np.array([0 if pool is None else pool.servers for pool in pools], dtype=np.int64),
        latency=latency,
        slowdown=slowdown,
        contended=(slowdown != 1.0).any(axis=1),
        slowed=np.array([pool is not None and pool.slowness is not None for pool in pools]),
        slowness=np.array([slowness_row(pool) for pool in pools]),
        idle_w=np.array([0.0 if pool is None else pool.idle_w for pool in pools]),
        busy_w=np.array([0.0 if pool is None else pool.busy_w for pool in pools]),
        entering=np.array(scenario.planned_items, dtype=np.int64),
        whole=np.array([stage.whole for stage in scenario.stages]),
        sub_batches=scenario.sub_batches,
        fewest=np.array(scenario.fewest_items, dtype=np.int64),
        overhead_s=np.array([stage.overhead_s for stage in scenario.stages]),
        transfer_s=np.array([stage.transfer_s for stage in scenario.stages]),
        decided_on_entry=decided,
        mean_s=np.zeros((len(scenario.planned_stages), len(pools), 0)) if decided else mean_tables(scenario, largest),
        batch_items=np.array([0 if each is None else each.max_items for each in batching], dtype=np.int64),
        max_wait_s=np.array([0.0 if each is None else each.max_wait_ms * 1e-3 for each in batching]),
        sla_s=scenario.sla_s,
        median_items=1 if decided else median_items(scenario),
    )


def all_rows(scenario: Scenario) -> bool:
    """Whether every latency of the node is a row of numbers, so that compiled code can plan requests alone."""
    return all(row_of(latency) is not None for latency in scenario.latencies)


def empty_state(node: NodeArrays, queries: int, requests: int, nodes: tuple[int, ...] = ()) -> NodeState:
    """The state of an idle node with room for that many queries and requests; of `nodes` (n,) of them, stacked."""
    from deeprec_env.simulation.slow_phases import PHASE  # Numba is loaded with the first node

    stages, servers, sub_batches = node.overhead_s.shape[-1], node.slowdown.shape[-1] - 1, int(np.max(node.sub_batches))
    by_sub_batch, by_request = (*nodes, stages, queries * sub_batches), (*nodes, stages, requests)
    return NodeState(
        counts=np.zeros((*nodes, WAITING + stages), dtype=np.int64),
        free_s=np.full((*nodes, 2 * stages, servers), -math.inf),
        phases=np.zeros((*nodes, 2 * stages), dtype=PHASE),
        arrival_s=np.empty((*nodes, queries)),
        items=np.empty((*nodes, queries), dtype=np.int64),
        query=np.empty((*nodes, queries), dtype=np.int64),
        setting=np.empty((*nodes, queries, len(SettingNumbers._fields))),
        entry_s=np.empty(by_sub_batch),
        leave_s=np.empty(by_sub_batch),
        offloaded=np.empty(by_sub_batch, dtype=np.bool_),
        first=np.zeros((*nodes, stages, queries * sub_batches + 1), dtype=np.int64),
        waiting=np.empty(by_sub_batch, dtype=np.int64),
        base_s=np.empty(by_request),
        start_s=np.empty(by_request),
        end_s=np.empty(by_request),
        carries=np.empty(by_request if np.any(node.batch_items) else (*nodes, stages, 0), dtype=np.bool_),
    )


def tail(node: NodeArrays, state: NodeState, query: int, queries: int, requests: int) -> NodeState:
    """A copy that holds the queries from the `query`-th on, all before it served, with room for more."""
    held = int(state.counts[HELD])
    kept, begins, ends = held - query, query * node.sub_batches, held * node.sub_batches
    begin, end = state.first[:, begins], state.first[:, ends]
    copy = empty_state(node, kept + queries, int((end - begin).max(initial=0)) + requests)
    copy.counts[:] = state.counts
    copy.counts[HELD], copy.counts[OPEN] = kept, 0
    copy.free_s[:] = state.free_s
    copy.phases[:] = state.phases
    for name in _OF_QUERIES:
        getattr(copy, name)[:kept] = getattr(state, name)[query:held]
    for name in _OF_SUB_BATCHES:
        getattr(copy, name)[:, : ends - begins] = getattr(state, name)[:, begins:ends]
    copy.first[:, : ends - begins + 1] = state.first[:, begins : ends + 1] - begin[:, None]
    for stage in range(len(node.overhead_s)):
        waiting = int(state.counts[WAITING + stage])
        copy.waiting[stage, :waiting] = state.waiting[stage, :waiting] - begins
        for name in _requests_held(node):
            getattr(copy, name)[stage, : end[stage] - begin[stage]] = getattr(state, name)[
                stage, begin[stage] : end[stage]
            ]
    return copy


def _requests_held(node: NodeArrays) -> tuple[str, ...]:
    """The arrays of requests that are in use: without any batching all requests carry their own service."""
    return _OF_REQUESTS if np.any(node.batch_items) else _OF_REQUESTS[:-1]


def with_room(node: NodeArrays, state: NodeState, queries: int, requests: int) -> NodeState:
    """The state with room for at least that many queries and requests: itself, or a copy twice as large.

    What is held is copied and no more, so that memory that is never needed is never touched.
    """
    if queries <= state.arrival_s.shape[-1] and requests <= state.base_s.shape[-1]:
        return state
    sub_batches = np.broadcast_to(node.sub_batches, state.counts.shape[:-1])
    held = state.counts[..., HELD]
    held_parts = held * sub_batches
    held_requests = np.take_along_axis(state.first, held_parts[..., None, None], axis=-1)[..., 0].max(axis=-1)
    changes: dict[str, Any] = {}
    for names, room, wanted, each, used in (
        (_OF_QUERIES, state.arrival_s.shape[-1], queries, 1, held),
        (
            (*_OF_SUB_BATCHES, "first", "waiting"),
            state.arrival_s.shape[-1],
            queries,
            int(sub_batches.max()),
            held_parts,
        ),
        (_requests_held(node), state.base_s.shape[-1], requests, 1, held_requests),
    ):
        if wanted > room:
            more = (max(wanted, 2 * room) - room) * each
            for name in names:
                array = getattr(state, name)
                axis = array.ndim - 1 - (name == "setting")
                shape = list(array.shape)
                shape[axis] += more
                changes[name] = longer = np.empty(shape, array.dtype)
                for position in np.ndindex(used.shape):
                    # Of `first` one more: the end.
                    kept = (*position, *[slice(None)] * (axis - used.ndim), slice(used[position] + (name == "first")))
                    longer[kept] = array[kept]
    return state._replace(**changes)
