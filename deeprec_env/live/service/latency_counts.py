"""Latencies since the start, counted in buckets: what Prometheus calls a histogram."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0),
)
"""Upper ends of the buckets; the last one has none."""


class LatencyCounts:
    """How many latencies fell in each bucket, and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, latency_s: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, latency_s)] += 1
        self.sum_s += latency_s
