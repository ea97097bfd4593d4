"""Runs of a fleet too long to keep: blocks of the traffic, latencies into quantile sketches that merge."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.fleet.compiled_engine import CompiledFleet
from deeprec_env.fleet.meter import FleetMeter
from deeprec_env.fleet.records import FleetRecords
from deeprec_env.fleet.result import FleetResult
from deeprec_env.fleet.summary import LEVELS, GroupLatencies, Latencies, summarise
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation import streaming
from deeprec_env.simulation.checks import check_run_memory, requests_per_query
from deeprec_env.simulation.records import open_records
from deeprec_env.simulation.streaming import BLOCK_REQUESTS, COMPRESSION, counted_span
from deeprec_env.simulation.summary import Goodput, warmup_queries
from deeprec_env.workload.stream import Fingerprint, QueryStream

_QUERIES_OF_A_NODE = 20
"""Of a block, at least, so that what a block costs for a node is little beside them."""


def stream_fleet(
    scenario: Scenario,
    seeds: np.random.SeedSequence,
    queries: int,
    progress: Callable[[int], None],
    records: Path | None,
) -> FleetResult:
    """Run `queries` queries in bounded memory, their records into a file where there is one.

    `progress` is told the queries done since it was last called. Raises `InputError` for a fleet that can't be run in
    blocks.
    """
    assert scenario.fleet is not None
    warmup, block = warmup_queries(queries), _block_queries(scenario)
    for group in scenario.group_scenarios:
        check_run_memory(group, min(block, queries), field="queries of a block")
    fleet = CompiledFleet(scenario, in_blocks=True)
    sizes = [min(block, queries - begin) for begin in range(0, queries, block)]
    seen = Fingerprint()
    begin_s, end_s = counted_span(QueryStream(scenario.workload, seeds), sizes, warmup, seen)
    source, meter = QueryStream(scenario.workload, seeds), FleetMeter(scenario, warmup, begin_s, end_s)
    whole = streaming.Latencies(queries - warmup)
    groups = [_GroupSketch() for _ in scenario.group_scenarios]
    done = 0
    with nullcontext() if records is None else open_records(records, warmup) as file:
        for size in sizes:
            traffic = source.draw(size)
            seen.add(traffic.items)
            found = fleet.run(traffic)
            whole.add(found.whole.latency_s[max(0, warmup - done) :], scenario.sla_s)
            for number, sketch in enumerate(groups):
                sketch.add(_counted(found, number, warmup - done), scenario.sla_s)
            meter.add(found, done)
            if file is not None:
                file.add(replace(found.whole, first=done), found.columns())
            done += size
            progress(size)
    length_s = end_s - begin_s
    latencies = Latencies(
        whole.tail(),
        Goodput.of(queries - warmup, whole.shed, whole.within, length_s),
        whole.grow(),
        tuple(sketch.latencies() for sketch in groups),
    )
    return summarise(scenario, queries, warmup, length_s, latencies, meter, seen.hexdigest(source.noise_key))


def _block_queries(scenario: Scenario) -> int:
    assert scenario.fleet is not None
    requests = max(requests_per_query(group) for group in scenario.group_scenarios)
    least = _QUERIES_OF_A_NODE * scenario.fleet.members.size
    return max(1000, least, math.ceil(BLOCK_REQUESTS / requests))


def _counted(block: FleetRecords, number: int, warmup: int) -> Floats:
    """Latencies of the queries of a group that are not among the first of the block."""
    return block.groups[number].latency_s[block.within(number)[0] >= warmup]


class _GroupSketch:
    """The latencies of a group."""

    def __init__(self) -> None:
        from datasketches import tdigest_double  # type: ignore[import-untyped]  # loaded when a long run starts

        self._sketch: Any = tdigest_double(COMPRESSION)
        self._sum_s, self._count = 0.0, 0
        self._shed = self._within = 0

    def add(self, latency_s: Floats, sla_s: float) -> None:
        """The next latencies, NaN of queries that were shed."""
        admitted_s = latency_s[~np.isnan(latency_s)]
        self._sketch.update(admitted_s)
        self._sum_s += float(admitted_s.sum())
        self._count += len(admitted_s)
        self._shed += len(latency_s) - len(admitted_s)
        self._within += int((latency_s <= sla_s).sum())

    def latencies(self) -> GroupLatencies:
        """The summary of all of them."""
        if not self._count:
            return GroupLatencies(math.nan, (math.nan,) * len(LEVELS), self._shed, self._within)
        quantiles_s = tuple(self._sketch.get_quantile(level) for level in LEVELS)
        return GroupLatencies(self._sum_s / self._count, quantiles_s, self._shed, self._within)
