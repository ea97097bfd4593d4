"""Inner loops, compiled: the FCFS recursion (rules 5, 6 and 8), busy time (rule 11)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled, uncounted
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.slow_phases import factor_at


class ServerHeap(NamedTuple):
    """A pool's servers: when each comes free, as a binary heap, and the slow-down by busy servers.

    `uneven`: whether it matters when a request starts, since slow-downs differ from 1 or, if it is `slowed`, there are
    slow phases, those of `pool`.
    """

    free_s: Floats
    slowdown: Floats
    uneven: bool
    slowed: bool
    pool: int


@uncounted
def busy_at(free: Floats, servers: int, starts_s: float) -> int:
    """Servers of a pool that are busy at the start of a request, itself included; `free` as in `ServerHeap`."""
    busy = 1
    for server in range(servers):
        if free[server] > starts_s:
            busy += 1
    return busy


@uncounted
def take_first(free: Floats, servers: int, ends_s: float) -> None:
    """Let the server that is free first be busy until `ends_s`; `free` as in `ServerHeap`.

    Its time gives way to this end, which is most often among the latest: so the hole sinks to the bottom of the heap
    before the end is compared, and rises again where it must.
    """
    hole, child = 0, 1
    while child + 1 < servers:
        child += free[child + 1] < free[child]
        free[hole] = free[child]
        hole, child = child, 2 * child + 1
    if child < servers:
        free[hole] = free[child]
        hole = child
    while hole > 0 and free[(hole - 1) >> 1] > ends_s:
        free[hole] = free[(hole - 1) >> 1]
        hole = (hole - 1) >> 1
    free[hole] = ends_s


@uncounted
def serve_request(
    enters_s: float,
    base_s: float,
    overhead_s: float,
    free: Floats,
    servers: int,
    slowdown: Floats,
    uneven: bool,
    slowed: bool,
    slowness: Floats,
    phases: NDArray[Any],
    pool: int,
) -> tuple[float, float]:
    """Start and end of a request that enters a pool: it takes the server that is free first (rules 5 and 8).

    The pool as in `ServerHeap`; `slowness` and `phases` are those of all pools.
    """
    starts_s = max(enters_s, free[0])
    if uneven:
        base_s = base_s * slowdown[busy_at(free, servers, starts_s)]
        if slowed:
            base_s = base_s * factor_at(slowness, phases, pool, starts_s)
    ends_s = starts_s + (base_s + overhead_s)
    take_first(free, servers, ends_s)
    return starts_s, ends_s


@compiled
def serve(
    order: Ints,
    entry_s: Floats,
    offloaded: NDArray[np.bool_],
    first: Ints,
    base_s: Floats,
    cpu: ServerHeap,
    accelerator: ServerHeap,
    overhead_s: float,
    slowness: Floats,
    phases: NDArray[Any],
    start_s: Floats,
    end_s: Floats,
    leave_s: Floats,
) -> None:
    """Serve the queries (or their sub-batches) `order`, given in the order of their entry, which enter at `entry_s`.

    A request starts at the later of its entry and the earliest free time of its pool. Writes start and end of every
    request, and the time at which each query leaves.
    """
    if len(order) == 0:
        return
    # Both pools' servers as one array, and their slow-downs: to choose between two for every query would count
    # references to them, which takes twice as long as the heap.
    cpu_servers, accelerator_servers = len(cpu.free_s), len(accelerator.free_s)
    free, slowdowns = (
        np.empty((2, max(cpu_servers, accelerator_servers))),
        np.ones((2, max(len(cpu.slowdown), len(accelerator.slowdown)))),
    )
    free[0, :cpu_servers], free[1, :accelerator_servers] = cpu.free_s, accelerator.free_s
    slowdowns[0, : len(cpu.slowdown)], slowdowns[1, : len(accelerator.slowdown)] = cpu.slowdown, accelerator.slowdown
    for position in range(len(order)):
        query = order[position]
        kind = np.int64(offloaded[query])
        servers = accelerator_servers if kind else cpu_servers
        uneven, slowed = (accelerator.uneven, accelerator.slowed) if kind else (cpu.uneven, cpu.slowed)
        pool = accelerator.pool if kind else cpu.pool
        enters = last = entry_s[query]
        begin, end = first[query], first[query + 1]  # what is written to below can't be an alias of these
        for request in range(begin, end):
            starts, ends = serve_request(
                enters,
                base_s[request],
                overhead_s,
                free[kind],
                servers,
                slowdowns[kind],
                uneven,
                slowed,
                slowness,
                phases,
                pool,
            )
            start_s[request] = starts
            end_s[request] = ends
            last = max(last, ends)
        leave_s[query] = last
    cpu.free_s[:], accelerator.free_s[:] = free[0, :cpu_servers], free[1, :accelerator_servers]


@compiled
def busy_seconds(
    offloaded: NDArray[np.bool_],
    first: Ints,
    start_s: Floats,
    end_s: Floats,
    carries: NDArray[np.bool_],
    left_s: Floats,
    begin_s: float,
    until_s: float,
    in_order: bool,
) -> tuple[float, float]:
    """Server-seconds inside [begin_s, until_s) on the CPU and on the accelerator, added in (query, part) order.

    Of a batch the request that `carries` it counts; empty: all requests do.

    Of queries or of their sub-batches. `left_s`: when each left the stage, or later: those that did by `begin_s` are
    passed over. `in_order`: they started in this order, as they do the first stage of a node that is
    `decided_on_entry`. Then, after one that starts too late to count, no other of its pool counts, which spares a look
    at a long queue.
    """
    cpu_s = accelerator_s = 0.0
    cpu_counts = accelerator_counts = True
    for query in range(len(offloaded)):
        if not (accelerator_counts if offloaded[query] else cpu_counts):
            continue
        if left_s[query] <= begin_s or first[query] == first[query + 1]:
            continue
        if in_order and start_s[first[query]] >= until_s:  # then so are its other requests
            if offloaded[query]:
                accelerator_counts = False
            else:
                cpu_counts = False
            if not (cpu_counts or accelerator_counts):
                break
            continue
        for request in range(first[query], first[query + 1]):
            overlap_s = min(end_s[request], until_s) - max(start_s[request], begin_s)
            if overlap_s > 0.0 and (len(carries) == 0 or carries[request]):
                if offloaded[query]:
                    accelerator_s += overlap_s
                else:
                    cpu_s += overlap_s
    return cpu_s, accelerator_s


@compiled
def work_seconds(
    offloaded: NDArray[np.bool_], first: Ints, start_s: Floats, end_s: Floats, carries: NDArray[np.bool_]
) -> tuple[float, float]:
    """Server-seconds of all requests on the CPU and on the accelerator, in (query, part) order; none is in service."""
    cpu_s = accelerator_s = 0.0
    for query in range(len(offloaded)):
        for request in range(first[query], first[query + 1]):
            if start_s[request] > -np.inf and (len(carries) == 0 or carries[request]):
                if offloaded[query]:
                    accelerator_s += end_s[request] - start_s[request]
                else:
                    cpu_s += end_s[request] - start_s[request]
    return cpu_s, accelerator_s


@compiled
def last_leave_s(leave_s: Floats, sub_batches: int, begin: int, end: int) -> Floats:
    """When queries leave a stage with the last of their sub-batches, from the times of these; infinite: unknown."""
    if sub_batches == 1:
        return leave_s[begin:end]
    last_s = np.empty(end - begin)
    for query in range(begin, end):
        last_s[query - begin] = leave_s[query * sub_batches : (query + 1) * sub_batches].max()
    return last_s
