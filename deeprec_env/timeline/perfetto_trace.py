"""Timelines in Perfetto's own format: pools are processes, servers their tracks, requests slices that flows tie."""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np

from deeprec_env.timeline.timeline import Counter, PoolSlices, Timeline, nanoseconds

_SEQUENCE = 1


def write_perfetto(timeline: Timeline, file: IO[bytes]) -> None:
    """Write a timeline as a trace of Perfetto's schema."""
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import CounterDescriptor, Trace, TrackDescriptor, TrackEvent

    writer = _Writer(file, Trace, TrackEvent)
    queries = writer.process("queries", TrackDescriptor)
    _write_queries(writer, timeline, queries)
    for pool in timeline.pools:
        process = writer.process(f"{pool.label}: {pool.servers} servers", TrackDescriptor)
        _write_pool(writer, pool, process)
    load = writer.process("load and settings", TrackDescriptor)
    for counter in timeline.counters:
        _write_counter(writer, counter, load, CounterDescriptor)
    writer.flush()


class _Writer:
    """Packets of one sequence, written a few thousand at a time."""

    _MOST = 5000

    def __init__(self, file: IO[bytes], trace: Any, event: Any) -> None:
        self._file, self._make = file, trace
        self._trace = trace()
        self._uuid = 0
        self._begun = False
        self.event = event

    def packet(self) -> Any:
        if len(self._trace.packet) >= self._MOST:
            self.flush()
        packet = self._trace.packet.add()
        packet.trusted_packet_sequence_id = _SEQUENCE
        return packet

    def flush(self) -> None:
        """A trace is its packets: parts of it, one after the other, are one."""
        self._file.write(self._trace.SerializeToString(deterministic=True))
        self._trace = self._make()

    def track(self, name: str, parent: int | None = None) -> Any:
        """A new track's description."""
        self._uuid += 1
        track = self.packet().track_descriptor
        track.uuid, track.name = self._uuid, name
        if parent is not None:
            track.parent_uuid = parent
        return track

    def process(self, name: str, descriptor: Any) -> int:
        """A process of that name, whose tracks stand in the order in which they are made."""
        track = self.track(name)
        track.process.pid, track.process.process_name = track.uuid, name
        track.child_ordering = descriptor.EXPLICIT
        return int(track.uuid)

    def slice(self, track: int, begin_ns: int, name: str) -> Any:
        """The begin of a slice."""
        packet = self.packet()
        packet.timestamp = begin_ns
        event = packet.track_event
        event.type, event.track_uuid, event.name = self.event.TYPE_SLICE_BEGIN, track, name
        return event

    def end(self, track: int, end_ns: int) -> None:
        packet = self.packet()
        packet.timestamp = end_ns
        packet.track_event.type, packet.track_event.track_uuid = self.event.TYPE_SLICE_END, track

    def instant(self, track: int, at_ns: int, name: str) -> Any:
        event = self.slice(track, at_ns, name)
        event.type = self.event.TYPE_INSTANT
        return event


def _note(event: Any, name: str, value: float) -> None:
    note = event.debug_annotations.add()
    note.name = name
    if isinstance(value, int):
        note.int_value = value
    else:
        note.double_value = value


def _flow(query: int) -> int:
    """The flow of a query; none is 0."""
    return query + 1


def _write_queries(writer: _Writer, timeline: Timeline, process: int) -> None:
    arrivals, ends = (writer.track(name, process) for name in ("arrivals", "completions"))
    arrivals.sibling_order_rank, ends.sibling_order_rank = 0, 1
    arrived, ended = arrivals.uuid, ends.uuid
    numbers, items = timeline.query.tolist(), timeline.items.tolist()
    latency_ms = ((timeline.completion_s - timeline.arrival_s) * 1e3).tolist()
    for query, n, at, late_ms in zip(numbers, items, nanoseconds(timeline.arrival_s), latency_ms, strict=True):
        shed = math.isnan(late_ms)
        event = writer.instant(arrived, at, f"query {query} is shed" if shed else f"query {query}")
        _note(event, "items", n)
        if not shed:
            _note(event, "latency_ms", late_ms)
            event.flow_ids.append(_flow(query))
    order = np.argsort(timeline.completion_s, kind="stable").tolist()  # who was shed comes last
    done = [place for place in order if not math.isnan(latency_ms[place])]
    for place, at in zip(done, nanoseconds(timeline.completion_s[done]), strict=True):
        event = writer.instant(ended, at, f"query {numbers[place]}")
        _note(event, "latency_ms", latency_ms[place])
        event.terminating_flow_ids.append(_flow(numbers[place]))


def _write_pool(writer: _Writer, pool: PoolSlices, process: int) -> None:
    tracks = []
    for server in range(pool.servers):
        track = writer.track(f"server {server}", process)
        track.sibling_order_rank = server
        tracks.append(track.uuid)
    open_: dict[int, list[int]] = {}  # by server: ends of the slices that are open, those of one batch

    def close(server: int) -> None:
        for end in open_.pop(server, []):
            writer.end(tracks[server], end)

    rows = zip(
        pool.query.tolist(),
        pool.items.tolist(),
        pool.server.tolist(),
        nanoseconds(pool.start_s),
        nanoseconds(pool.end_s),
        ((pool.start_s - pool.entry_s) * 1e3).tolist(),
        pool.carries.tolist(),
        strict=True,
    )
    for query, items, server, begin, end, waited_ms, carries in rows:
        if carries:
            close(server)
        event = writer.slice(tracks[server], begin, f"query {query}")
        event.flow_ids.append(_flow(query))
        _note(event, "items", items)
        if waited_ms:
            _note(event, "waited_ms", waited_ms)
        open_.setdefault(server, []).append(end)
    for server in sorted(open_):
        close(server)


def _write_counter(writer: _Writer, counter: Counter, process: int, descriptor: Any) -> None:
    track = writer.track(counter.name, process)
    track.counter.unit = descriptor.UNIT_COUNT
    uuid = track.uuid
    for at, value in zip(nanoseconds(counter.time_s), counter.value.tolist(), strict=True):
        packet = writer.packet()
        packet.timestamp = at
        event = packet.track_event
        event.type, event.track_uuid, event.double_counter_value = writer.event.TYPE_COUNTER, uuid, value
