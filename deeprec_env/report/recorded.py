"""Sections of live runs: `deeprec live`, and its recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeprec_env.report.page import Block, Line, Plot, Section, Table
from deeprec_env.report.simulated import latency_section
from deeprec_env.report.sources import Source
from deeprec_env.report.words import number

_SPREADS = {
    "lateness_ms": "taken up late", "from_entry_ms": "latency from there", "service_ms": "service of a request",
    "worker_ms": "the worker's own time",
}  # fmt: skip
_KEYS = ("p50", "p95", "p99")
_SIZES = 12
"""Sizes of requests that are drawn: so many quantiles of them, where there are more."""


def sections(sources: Sequence[Source]) -> list[Section]:
    """What came of some live runs, side by side."""
    told = [source for source in sources if "live" in source.payload]
    parts = [latency_section(sources)]
    if told:
        parts.append(Section("On the wall clock", _clock(told)))
    services = [line for source in sources if source.recording is not None for line in _services(source)]
    if services:
        title = "Mean time from hand-over to answer, by the items of a request"
        parts.append(Section("Service", [Plot(title, "items", "ms", services, log_x=True)]))
    return parts


def _clock(sources: Sequence[Source]) -> list[Block]:
    rows, spreads = [], []
    for source in sources:
        live: Mapping[str, Any] = source.payload["live"]
        workers = ", ".join(f"{count} of {name} ({live['models'][name]})" for name, count in live["workers"].items())
        facts = [number(live["duration_s"]), workers, number(live["late"]), number(live["gap_us"]["median"])]
        rows.append([source.name, *facts, number(live["worker_deaths"]), number(live["failed_requests"])])
        for key, name in _SPREADS.items():
            spreads.append([f"{source.name}: {name}", *(number(live[key].get(end)) for end in ("mean", *_KEYS, "max"))])
    columns = ("", "seconds", "workers", "queries late", "median gap us", "worker deaths", "failed requests")
    places = [float(place) for place in range(len(_KEYS))]
    lines = [
        Line(name, places, [of[key] for key in _KEYS])
        for source in sources
        for name, of in (
            (f"{source.name}, from the intended arrival", source.payload["latency_ms"]),
            (f"{source.name}, from being taken up", source.payload["live"]["from_entry_ms"]),
        )
        if None not in (of[key] for key in _KEYS)
    ]
    plot = Plot("What the tail owes to queries that were taken up late", "percentile", "ms", lines, _KEYS, joined=False)
    return [Table(columns, rows), Table(("ms", "mean", *_KEYS, "max"), spreads), plot]


def _services(source: Source) -> list[Line]:
    assert source.recording is not None
    columns = source.recording.columns
    found = []
    for accelerator, name in ((0, source.name), (1, f"{source.name}, accelerator")):
        mine = (columns["accelerator"] == accelerator) & (columns["stage"] >= 0) & (columns["carries"] == 1)
        items, service_s = columns["request_items"][mine], (columns["end_s"] - columns["start_s"])[mine]
        if not items.size:
            continue
        edges = np.unique(np.quantile(items, np.linspace(0.0, 1.0, _SIZES + 1), method="nearest"))
        part = np.clip(np.searchsorted(edges, items, side="right") - 1, 0, max(len(edges) - 2, 0))
        each = [(items[part == number], service_s[part == number]) for number in np.unique(part)]
        found.append(Line(name, [float(size.mean()) for size, _ in each], [float(s.mean()) * 1e3 for _, s in each]))
    return found
