"""The FCFS recursion against a heap of Python's own."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest

from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.arrays import empty_state, node_arrays
from deeprec_env.simulation.kernels import ServerHeap, serve
from tests.policies.test_generalist import small


def by_heap(enters: float, base_s: float, free: list[float], slowdown: Floats) -> tuple[float, float]:
    starts = max(enters, free[0])
    ends = starts + (base_s * slowdown[1 + sum(each > starts for each in free)] + 0.25)
    heapq.heapreplace(free, ends)
    return starts, ends


@pytest.mark.parametrize("servers", [(1, 1), (2, 7), (40, 1), (64, 0)])
@pytest.mark.parametrize("load", [0.3, 1.5])
def test_servers_are_taken_as_from_a_heap(servers: tuple[int, int], load: float) -> None:
    rng = np.random.default_rng(sum(servers))
    node, room = node_arrays(small()), 400
    phases = empty_state(node, 1, 1).phases
    known: list[list[float]] = []
    pools = []
    for count in servers:
        free = np.sort(np.where(rng.random(count) < 0.5, -math.inf, rng.uniform(-3.0, 3.0, count)))
        known.append(free.tolist())  # ascending is a heap
        slowdown = rng.uniform(1.0, 2.0, count + 1)
        pools.append(ServerHeap(free, slowdown, True, False, len(pools)))
    requests = rng.integers(0, 4, room)
    first = np.concatenate([[0], np.cumsum(requests)])
    offloaded = rng.random(room) < (0.1 if servers[1] else 0.0)
    base_s = rng.lognormal(0.0, 1.0, first[-1])
    entry_s = np.cumsum(rng.exponential(4.0 / (load * servers[0]), room))
    start_s, end_s, leave_s = np.full(first[-1], np.nan), np.full(first[-1], np.nan), np.full(room, np.nan)
    for order in (np.arange(150), np.arange(150, 150), np.arange(150, room)):  # a window, an empty one, the rest
        serve(
            order, entry_s, offloaded, first, base_s, *pools, 0.25, node.slowness, phases, start_s, end_s, leave_s
        )  # fmt: skip
        for query in order:
            pool = int(offloaded[query])
            last = entry_s[query]
            for request in range(first[query], first[query + 1]):
                expected = by_heap(entry_s[query], base_s[request], known[pool], pools[pool].slowdown)
                assert (start_s[request], end_s[request]) == expected
                last = max(last, expected[1])
            assert leave_s[query] == last
        for pool, heap in zip(pools, known, strict=True):
            assert sorted(pool.free_s) == sorted(heap)
