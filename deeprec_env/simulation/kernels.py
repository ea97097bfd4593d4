"""Inner loops, compiled: splitting (rule 4), the FCFS recursion (rules 5, 6 and 8), busy time (rule 11)."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.workload.noise import uniform


@compiled
def share(items: Any, shares: Any, position: Any) -> Any:
    """Items of a query's sub-batch at a position: `shares` of them divide the items, the first ones take what is over.

    Behind these sub-batches are empty; so are all where a query has no items.
    """
    if position >= shares:
        return np.int64(0)
    if shares == 1:
        return np.int64(items)
    return np.int64(items // shares + (1 if position < items % shares else 0))


@compiled
def requests_of(items: Any, batch_size: Any, offloaded: Any) -> Any:
    """How many requests so many items are."""
    return (items + batch_size - 1) // batch_size if not offloaded else min(items, 1)


@compiled
def split(items: Any, keys: Any, batch_size: Any, threshold: Any, sub_batches: Any, fewest: Any) -> Any:
    """Requests of queries of `items` items with noise hashes `keys`; a `threshold` of 0 is never.

    `fewest`: the fewest items of a large query at any stage, which bounds how many of its `sub_batches` are not empty.
    Returns by sub-batch whether it is offloaded and where its requests begin (one more entry: the end), and by request
    its items and its U.
    """
    count = len(items)
    offloaded = np.empty(count * sub_batches, dtype=np.bool_)
    first = np.empty(count * sub_batches + 1, dtype=np.int64)
    first[0] = 0
    for query in range(count):
        n = items[query]
        away = threshold > 0 and n >= threshold
        for position in range(sub_batches):
            at = query * sub_batches + position
            offloaded[at] = away
            held = share(n, min(sub_batches, n, fewest), position)
            first[at + 1] = first[at] + requests_of(held, batch_size, away)
    request_items = np.empty(first[-1], dtype=np.int64)
    u = np.empty(first[-1])
    for query in range(count):
        n = items[query]
        begin = first[query * sub_batches]
        for position in range(sub_batches):
            at = query * sub_batches + position
            left = share(n, min(sub_batches, n, fewest), position)
            for request in range(first[at], first[at + 1]):
                size = left if offloaded[at] else min(batch_size, left)
                request_items[request] = size
                u[request] = uniform(keys[query], request - begin)
                left -= size
    return offloaded, first, request_items, u


@compiled
def serve(
    order: Any,
    entry_s: Any,
    offloaded: Any,
    first: Any,
    base_s: Any,
    cpu: Any,
    accelerator: Any,
    overhead_s: Any,
    start_s: Any,
    end_s: Any,
    leave_s: Any,
) -> None:
    """Serve the queries (or their sub-batches) `order`, given in the order of their entry, which enter at `entry_s`.

    A request starts at the later of its entry and the earliest free time of its pool. `cpu` and `accelerator` are each
    (free times as a binary heap, slow-down by busy servers, whether any differs from 1). Writes start and end of every
    request, and the time at which each query leaves.
    """
    for position in range(len(order)):
        query = order[position]
        free, slowdown, contended = accelerator if offloaded[query] else cpu
        servers = len(free)
        last = entry_s[query]
        for request in range(first[query], first[query + 1]):
            starts = max(entry_s[query], free[0])
            service_s = base_s[request]
            if contended:
                busy = 1
                for server in range(servers):
                    if free[server] > starts:
                        busy += 1
                service_s = service_s * slowdown[busy]
            ends = starts + (service_s + overhead_s)
            start_s[request] = starts
            end_s[request] = ends
            last = max(last, ends)
            # The earliest free time gives way to this end, which is most often among the latest: so the hole sinks to
            # the bottom of the heap before the end is compared, and rises again where it must.
            hole, child = 0, 1
            while child + 1 < servers:
                child += free[child + 1] < free[child]
                free[hole] = free[child]
                hole, child = child, 2 * child + 1
            if child < servers:
                free[hole] = free[child]
                hole = child
            while hole > 0 and free[(hole - 1) // 2] > ends:
                free[hole] = free[(hole - 1) // 2]
                hole = (hole - 1) // 2
            free[hole] = ends
        leave_s[query] = last


@compiled
def busy_seconds(
    offloaded: Any, first: Any, start_s: Any, end_s: Any, begin_s: Any, until_s: Any, in_order: Any
) -> Any:
    """Server-seconds inside [begin_s, until_s) on the CPU and on the accelerator, added in (query, part) order.

    Of queries or of their sub-batches. `in_order`: they entered in this order, as they do the first stage. Then, behind
    one that starts too late to count, no other of its pool counts, which spares a look at a long queue.
    """
    cpu_s = accelerator_s = 0.0
    cpu_counts = accelerator_counts = True
    for query in range(len(offloaded)):
        if first[query] == first[query + 1] or not (accelerator_counts if offloaded[query] else cpu_counts):
            continue
        if in_order and start_s[first[query]] >= until_s:  # then so are its other requests
            if offloaded[query]:
                accelerator_counts = False
            else:
                cpu_counts = False
            continue
        for request in range(first[query], first[query + 1]):
            overlap_s = min(end_s[request], until_s) - max(start_s[request], begin_s)
            if overlap_s > 0.0:
                if offloaded[query]:
                    accelerator_s += overlap_s
                else:
                    cpu_s += overlap_s
    return cpu_s, accelerator_s
