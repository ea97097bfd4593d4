"""Timelines in the JSON of Chrome's trace events, which Perfetto opens too; nothing has to be installed for it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import IO, Any

from deeprec_env.timeline.timeline import PoolSlices, Timeline

_LOAD, _QUERIES = 1, 2
"""Processes; those of the pools follow."""

_US = 1e6
"""Times of this format are microseconds."""


def write_json(timeline: Timeline, file: IO[bytes]) -> None:
    """Write a timeline as one JSON object, an event a line."""
    file.write(b'{"displayTimeUnit": "ms", "traceEvents": [\n')
    for number, event in enumerate(_events(timeline)):
        file.write((",\n" if number else "").encode() + json.dumps(event, allow_nan=False).encode())
    file.write(b"\n]}\n")


def _events(timeline: Timeline) -> Iterator[dict[str, Any]]:
    yield _named("process_name", _LOAD, 0, "load and settings")
    yield _named("process_name", _QUERIES, 0, "queries")
    for counter in timeline.counters:
        for time_s, value in zip(counter.time_s.tolist(), counter.value.tolist(), strict=True):
            yield {
                "ph": "C", "pid": _LOAD, "tid": 0, "name": counter.name, "ts": time_s * _US, "args": {"value": value},
            }  # fmt: skip
    rows = zip(
        timeline.query.tolist(),
        timeline.items.tolist(),
        timeline.arrival_s.tolist(),
        timeline.completion_s.tolist(),
        strict=True,
    )
    for query, items, arrival_s, completion_s in rows:
        shed = math.isnan(completion_s)
        name = f"query {query} is shed" if shed else f"query {query}"
        about = {"items": items} if shed else {"items": items, "latency_ms": (completion_s - arrival_s) * 1e3}
        yield {
            "ph": "X", "pid": _QUERIES, "tid": 0, "name": name, "ts": arrival_s * _US, "dur": 0, "args": about,
        }  # fmt: skip
        if not shed:
            yield _flow("s", query, _QUERIES, 0, arrival_s)
    for number, pool in enumerate(timeline.pools):
        yield from _of_pool(pool, _QUERIES + 1 + number)


def _of_pool(pool: PoolSlices, pid: int) -> Iterator[dict[str, Any]]:
    yield _named("process_name", pid, 0, f"{pool.label}: {pool.servers} servers")
    for server in range(pool.servers):
        yield _named("thread_name", pid, server, f"server {server}")
    rows = zip(
        pool.query.tolist(),
        pool.items.tolist(),
        pool.server.tolist(),
        pool.entry_s.tolist(),
        pool.start_s.tolist(),
        pool.end_s.tolist(),
        strict=True,
    )
    for query, items, server, entry_s, start_s, end_s in rows:
        yield {
            "ph": "X", "pid": pid, "tid": server, "name": f"query {query}", "ts": start_s * _US,
            "dur": (end_s - start_s) * _US, "args": {"items": items, "waited_ms": (start_s - entry_s) * 1e3},
        }  # fmt: skip
        yield _flow("t", query, pid, server, start_s)


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _flow(phase: str, query: int, pid: int, tid: int, time_s: float) -> dict[str, Any]:
    """A step of what ties a query's requests together; it belongs to the slice around it."""
    return {
        "ph": phase, "cat": "query", "name": "query", "id": query, "pid": pid, "tid": tid, "ts": time_s * _US,
        "bp": "e",
    }  # fmt: skip
