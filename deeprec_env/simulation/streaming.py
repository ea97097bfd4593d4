"""Runs too long to keep: queries stream through the node in blocks, latencies into quantile sketches.

The sketches are t-digests (Dunning; Apache DataSketches), which merge and hold no randomness.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.admission import admit_all
from deeprec_env.simulation.arrays import (
    HELD,
    NodeArrays,
    NodeState,
    empty_state,
    node_arrays,
    with_room,
)
from deeprec_env.simulation.checks import check_known, check_rows, check_run_memory
from deeprec_env.simulation.event_kernel import admit_unserved, forget_events, serve_events
from deeprec_env.simulation.event_state import EventState, empty_events, events_with_room
from deeprec_env.simulation.intervals import BATCHES, about, batch_sizes, half_width, level_interval
from deeprec_env.simulation.kernel_choice import decided_on_entry, kernel_for
from deeprec_env.simulation.kernels import busy_seconds, work_seconds
from deeprec_env.simulation.node import completion_s, forget, requests_needed, serve_until
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.simulation.slow_phases import begin_phases
from deeprec_env.simulation.summary import Goodput, Interval, Tail, Usage, means_grow, use_of, warmup_queries
from deeprec_env.simulation.window_meter import usage_of
from deeprec_env.workload.stream import Fingerprint, QueryStream, Traffic

_BLOCK_REQUESTS = 1_000_000
"""Requests of a block, about: some 60 MB at work."""

_BLOCK_QUERIES = 100_000
"""Most queries of a block that is served event by event, where each takes some 1 kB."""

_COMPRESSION = 20_000
"""Of a sketch: quantiles are right to about 1e-4 of their value, in 0.4 MB."""


@dataclass(frozen=True)
class Streamed:
    """What is left of a streamed run."""

    tail: Tail
    usage: Usage
    goodput: Goodput
    offloaded_fraction: float
    streams_sha256: str
    work_sent: dict[str, float | None]
    grows: bool


def stream(
    scenario: Scenario,
    open_stream: Callable[[], QueryStream],
    queries: int,
    progress: Callable[[int], None],
    keep: Callable[[Records], None] = lambda records: None,
) -> Streamed:
    """Run `queries` queries of a stream, which is opened twice: for its arrivals, then for its queries.

    `progress` is told the queries done since it was last called; `keep` gets the records of all queries, in their
    order and in parts, whose arrays are only good until it returns.
    """
    warmup, block = warmup_queries(queries), _block_queries(scenario)
    check_run_memory(scenario, min(block, queries), field="queries of a block")
    sizes = [min(block, queries - begin) for begin in range(0, queries, block)]
    seen = Fingerprint()
    begin_s, end_s = _counted_span(open_stream(), sizes, warmup, seen)
    source = open_stream()
    node = _StreamedNode(scenario, source.slow_key)
    latencies, use = _Latencies(queries - warmup), _Use(scenario, begin_s, end_s)
    arrived = done = 0
    for size in sizes:
        traffic = source.draw(size)
        seen.add(traffic.items)
        arrived += size
        node.run(traffic, last=arrived == queries)
        closed, skip = node.closed(), max(0, warmup - done)
        latencies.add(node.latency_s(closed)[skip:], scenario.sla_s)
        use.add(node, closed, skip)
        keep(node.records(done, closed))
        node.drop(closed)
        done += closed
        progress(size)
    counted = queries - warmup
    return Streamed(
        tail=latencies.tail(),
        usage=use.usage(),
        goodput=Goodput.of(counted, latencies.shed, latencies.within, end_s - begin_s),
        offloaded_fraction=use.offloaded / counted,
        streams_sha256=seen.hexdigest(source.noise_key),
        work_sent=use.work_sent(),
        grows=latencies.grow(),
    )


def _counted_span(source: QueryStream, sizes: list[int], warmup: int, seen: Fingerprint) -> tuple[float, float]:
    """The first counted and the last arrival, between which the node's use is measured."""
    begin_s = end_s = 0.0
    done = 0
    for size in sizes:
        arrival_s = source.draw_arrivals(size)
        seen.add(arrival_s)
        if done <= warmup < done + size:
            begin_s = float(arrival_s[warmup - done])
        end_s = float(arrival_s[-1])
        done += size
    return begin_s, end_s


def _block_queries(scenario: Scenario) -> int:
    """Queries of about `_BLOCK_REQUESTS` requests."""
    items, probability = scenario.workload.sizes.probabilities()
    requests = float(probability @ np.ceil(items / scenario.control.batch_size))
    queries = max(1000, math.ceil(_BLOCK_REQUESTS / requests))
    return queries if decided_on_entry(scenario) else min(queries, _BLOCK_QUERIES)


class _StreamedNode:
    """A node under fixed settings that holds the queries of one block and those whose completion is not yet known."""

    def __init__(self, scenario: Scenario, slow_key: int) -> None:
        self._scenario = scenario
        self.node: NodeArrays = node_arrays(scenario)
        self.state: NodeState = empty_state(self.node, 0, 0)
        begin_phases(self.node.slowness, self.state.phases, np.uint64(slow_key))
        self._events: EventState | None = None
        if kernel_for(scenario) == "events":
            check_rows(scenario)
            self._events = empty_events(self.node, 0)

    def run(self, traffic: Traffic, *, last: bool) -> None:
        """Let a block arrive, and whatever enters a stage before its last arrival (all, after the `last` one)."""
        until_s = math.inf if last else float(traffic.arrival_s[-1])
        if self._events is None:
            self.state = admit_all(self._scenario, self.node, self.state, traffic)
            serve_until(self.node, self.state, until_s)
            return
        setting, queries = self._scenario.setting.numbers, int(self.state.counts[HELD]) + len(traffic.items)
        check_known(self.node, int(traffic.items.max(initial=0)))
        self.state = with_room(
            self.node, self.state, queries, requests_needed(self.node, self.state, traffic.items, setting)
        )
        self._events = events_with_room(self.node, self._events, queries)
        key = np.uint64(traffic.noise_key)
        admit_unserved(
            self.node, self.state, self._events, key, traffic.arrival_s, traffic.items, traffic.query, setting
        )
        serve_events(self.node, self.state, self._events, int(setting.order), until_s)

    def closed(self) -> int:
        """How many of the first queries held have a known completion."""
        unknown = np.flatnonzero(completion_s(self.node, self.state, 0, self.state.counts[HELD]) == math.inf)
        return int(unknown[0]) if unknown.size else int(self.state.counts[HELD])

    def latency_s(self, closed: int) -> Floats:
        """Latencies of the first queries held, in order of arrival; NaN of those that were shed."""
        return np.asarray(completion_s(self.node, self.state, 0, closed) - self.state.arrival_s[:closed])

    def records(self, done: int, closed: int) -> Records:
        """Records of the first queries held, before which the node had `done`."""
        state, held = self.state, slice(0, closed)
        return Records(
            done,
            state.query[held],
            state.arrival_s[held],
            state.items[held],
            state.setting[held],
            completion_s(self.node, state, 0, closed),
            tuple(StageRecords.of_state(self.node, state, stage, held) for stage in range(len(state.first))),
            self._scenario.controls,
        )

    def drop(self, closed: int) -> None:
        """Forget the first queries held."""
        keep = np.arange(self.state.counts[HELD]) >= closed
        if self._events is None:
            forget(self.node, self.state, keep)
        else:
            forget_events(self.node, self.state, self._events, keep)


class _Use:
    """Busy time and completions between `begin_s` and `end_s`, and offloaded queries."""

    def __init__(self, scenario: Scenario, begin_s: float, end_s: float) -> None:
        self._scenario = scenario
        self.begin_s, self.end_s = begin_s, end_s
        self.busy_s, self._sent_s = np.zeros((len(scenario.stages), 2)), np.zeros((len(scenario.stages), 2))
        self.completed = self.offloaded = 0

    def add(self, streamed: _StreamedNode, closed: int, skip: int) -> None:
        """Count the first queries held; the first `skip` of them are no part of the offloaded ones, nor of the work."""
        node, state = streamed.node, streamed.state
        begins, ends = skip * node.sub_batches, closed * node.sub_batches
        for stage in range(len(self.busy_s)):
            self._sent_s[stage] += work_seconds(
                state.offloaded[stage, begins:ends],
                state.first[stage, begins : ends + 1],
                state.start_s[stage],
                state.end_s[stage],
                state.carries[stage],
            )
            self.busy_s[stage] += busy_seconds(
                state.offloaded[stage, :ends],
                state.first[stage, : ends + 1],
                state.start_s[stage],
                state.end_s[stage],
                state.carries[stage],
                state.leave_s[stage, :ends],
                self.begin_s,
                self.end_s,
                node.decided_on_entry and stage == 0,
            )
        completed_s = completion_s(node, state, 0, closed)
        self.completed += int(((completed_s > self.begin_s) & (completed_s <= self.end_s)).sum())
        by_query = state.offloaded[:, : ends : node.sub_batches]  # the sub-batches of a query go the same way
        self.offloaded += int(by_query[:, skip:].any(axis=0).sum())

    def work_sent(self) -> dict[str, float | None]:
        """Mean work sent to the busiest pool of each kind, in its servers' time."""
        return usage_of(self._scenario, self._sent_s.tolist(), self.end_s - self.begin_s)[0]

    def usage(self) -> Usage:
        """The summary of it."""
        length_s = self.end_s - self.begin_s
        return use_of(self.completed, length_s, *usage_of(self._scenario, self.busy_s.tolist(), length_s))


class _Latencies:
    """Latencies in order of arrival, in as many sketches as there are batches for an interval."""

    def __init__(self, count: int) -> None:
        from datasketches import tdigest_double  # type: ignore[import-untyped]  # loaded when the first long run starts

        self._left = batch_sizes(count)
        self._sketches = [tdigest_double(_COMPRESSION) for _ in range(BATCHES)]
        self._sums, self._sizes = np.zeros(BATCHES), np.zeros(BATCHES, dtype=np.int64)
        self._batch = self.within = self.shed = 0

    def add(self, latency_s: Floats, sla_s: float) -> None:
        """The next latencies, NaN of queries that were shed."""
        self.within += int((latency_s <= sla_s).sum())
        while latency_s.size:
            next_ = latency_s[: self._left[self._batch]]
            part = next_ if self.shed == 0 and not np.isnan(next_).any() else next_[~np.isnan(next_)]
            self.shed += len(next_) - len(part)
            self._sketches[self._batch].update(part)
            self._sums[self._batch] += float(part.sum())
            self._sizes[self._batch] += len(part)
            self._left[self._batch] -= len(next_)
            latency_s = latency_s[len(next_) :]
            self._batch += self._left[self._batch] == 0

    def tail(self) -> Tail:
        """The summary of all of them."""
        whole = self._sketches[0].__class__(_COMPRESSION)
        for sketch in self._sketches:
            whole.merge(sketch)
        if whole.is_empty():
            unknown = math.nan, math.nan
            return Tail(math.nan, math.nan, math.nan, math.nan, unknown, unknown, unknown)
        mean_s, half = float(self._sums.sum() / self._sizes.sum()), half_width(self._sums / self._sizes)
        return Tail(
            mean_s=mean_s,
            p50_s=whole.get_quantile(0.5),
            p95_s=whole.get_quantile(0.95),
            p99_s=whole.get_quantile(0.99),
            mean_ci_s=about(mean_s, half),
            p95_ci_s=self._interval(whole, 0.95),
            p99_ci_s=self._interval(whole, 0.99),
        )

    def grow(self) -> bool:
        """Whether they rise all through the run."""
        with np.errstate(invalid="ignore"):
            return means_grow(self._sums / self._sizes)

    def _interval(self, whole: Any, level: float) -> Interval:
        value_s = whole.get_quantile(level)
        above = np.array([1.0 - sketch.get_rank(value_s) for sketch in self._sketches])
        return level_interval(whole.get_quantile, level, half_width(above))
