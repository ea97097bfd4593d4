"""Sections of runs: `deeprec simulate`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeprec_env.report.page import Block, Line, Plot, Section, Table
from deeprec_env.report.sources import Source
from deeprec_env.report.words import number, with_ci

_PERCENTILES = ("p50", "p95", "p99")
_POINTS = 200


def sections(sources: Sequence[Source]) -> list[Section]:
    """What came of some runs, side by side."""
    return [latency_section(sources)]


def latency_section(sources: Sequence[Source]) -> Section:
    """Verdicts, figures and latencies of whatever has the keys of a run."""
    blocks: list[Block] = [*(_verdict(source) for source in sources), _table(sources), _percentiles(sources)]
    with_records = [source for source in sources if source.records is not None]
    if with_records:
        blocks += [_tails(with_records), _over_time(with_records)]
    return Section("Latency", blocks)


def _verdict(source: Source) -> str:
    found = source.payload
    latency, sla = found["latency_ms"], found["sla_ms"]
    words = {"pass": "meets", "fail": "misses", "undecided": "neither clearly meets nor misses"}[found["verdict"]]
    text = f"{source.name} {words} {number(sla)} ms at p95: {with_ci(latency['p95'], latency['p95_ci'])} ms"
    if found["overloaded"]:
        loads = {pool: load for pool, load in found["offered_load"].items() if load is not None}
        busiest = max(loads, key=lambda pool: loads[pool]) if loads else "a pool"
        text += f"; it is overloaded ({busiest} is offered {number(loads.get(busiest))} of what it can do)"
    if found["shed_rate"]:
        text += f"; {found['shed_rate']:.2%} of the queries were shed"
    return f"{text}."


def _table(sources: Sequence[Source]) -> Table:
    rows = []
    for name in ("mean", *_PERCENTILES):
        of_each = [source.payload["latency_ms"] for source in sources]
        rows.append([f"{name} ms", *(with_ci(each[name], each.get(f"{name}_ci")) for each in of_each)])
    for key in ("batch_size", "threshold", "qps_offered", "qps_achieved", "goodput", "shed_rate", "joules_per_query"):
        rows.append([key.replace("_", " "), *(number(source.payload.get(key)) for source in sources)])
    for pool in ("cpu", "accelerator"):
        for key in ("utilisation", "offered_load"):
            rows.append([f"{key.replace('_', ' ')}, {pool}", *(number(s.payload[key].get(pool)) for s in sources)])
    told = [row for row in rows if set(row[1:]) != {"-"}]
    return Table(["", *(source.name for source in sources)], told)


def _percentiles(sources: Sequence[Source]) -> Plot:
    lines = []
    for source in sources:
        latency = source.payload["latency_ms"]
        known = [place for place, name in enumerate(_PERCENTILES) if latency[name] is not None]
        values = [latency[_PERCENTILES[place]] for place in known]
        ends = [latency.get(f"{_PERCENTILES[place]}_ci") or (None, None) for place in known]
        lines.append(Line(source.name, list(map(float, known)), values, *zip(*ends, strict=True)))
    sla = float(sources[0].payload["sla_ms"])
    return Plot(
        "Percentiles of the latency", "percentile", "ms", lines, _PERCENTILES, joined=False,
        target=(sla, f"target at p95: {sla:g} ms"),
    )  # fmt: skip


def _tails(sources: Sequence[Source]) -> Plot:
    """How many queries took longer, on logarithmic axes."""
    lines = []
    for source in sources:
        assert source.records is not None
        latency_ms = np.sort(source.records["latency_s"]) * 1e3
        count = len(latency_ms)
        shares = np.geomspace(1.0, 1.0 / count, _POINTS)
        places = np.unique(np.clip((count * (1.0 - shares)).astype(np.int64), 0, count - 1))
        lines.append(Line(source.name, latency_ms[places].tolist(), ((count - places) / count).tolist()))
    return Plot("Share of the queries that took at least so long", "ms", "share", lines, log_x=True, log_y=True)


def _over_time(sources: Sequence[Source]) -> Plot:
    lines = []
    for source in sources:
        assert source.records is not None
        parts = np.array_split(np.argsort(source.records["arrival_s"], kind="stable"), 100)
        parts = [part for part in parts if len(part)]
        at_s = [float(source.records["arrival_s"][part].mean()) for part in parts]
        p95_ms = [float(np.percentile(source.records["latency_s"][part], 95.0)) * 1e3 for part in parts]
        lines.append(Line(source.name, at_s, p95_ms))
    sla = float(sources[0].payload["sla_ms"])
    return Plot(
        "p95 through the run, by hundredths of its queries", "arrival s", "p95 ms", lines, target=(sla, f"{sla:g} ms")
    )
