"""Sections of fleets' runs: `deeprec simulate` of a fleet."""

from __future__ import annotations

from collections.abc import Sequence

from deeprec_env.report.page import Line, Plot, Section, Table
from deeprec_env.report.simulated import latency_section
from deeprec_env.report.sources import Source
from deeprec_env.report.words import number

_FIGURES = ("nodes", "share", "shed_rate", "joules_per_query")
_OF_POOLS = ("utilisation", "offered_load")
_POOLS = ("cpu", "accelerator")


def sections(sources: Sequence[Source]) -> list[Section]:
    """What came of some fleets, side by side: the whole, then by group."""
    return [latency_section(sources), _by_group(sources)]


def _by_group(sources: Sequence[Source]) -> Section:
    names = list(dict.fromkeys(name for source in sources for name in source.payload["groups"]))
    rows, lines = [], []
    for source in sources:
        groups = source.payload["groups"]
        for name, found in groups.items():
            latencies = [number(found["latency_ms"][key]) for key in ("p50", "p95", "p99")]
            used = [number(found[key].get(pool)) for key in _OF_POOLS for pool in _POOLS]
            label = name if len(sources) == 1 else f"{source.name}: {name}"
            rows.append([label, *latencies, *(number(found.get(key)) for key in _FIGURES), *used])
        known = [name for name in groups if groups[name]["latency_ms"]["p95"] is not None]
        places = [float(names.index(name)) for name in known]
        lines.append(Line(source.name, places, [groups[name]["latency_ms"]["p95"] for name in known]))
    of_pools = [f"{key.replace('_', ' ')}, {pool}" for key in _OF_POOLS for pool in _POOLS]
    columns = ["", "p50 ms", "p95 ms", "p99 ms", *(key.replace("_", " ") for key in _FIGURES), *of_pools]
    sla = float(sources[0].payload["sla_ms"])
    plot = Plot("p95 by group", "group", "p95 ms", lines, names, joined=False, target=(sla, f"target: {sla:g} ms"))
    words = "Latencies are seen from the router, the network both ways included; utilisation is a mean over the nodes."
    return Section("By group", [words, Table(columns, rows), plot])
