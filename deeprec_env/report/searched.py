"""Sections of searches: capacities and their maps, tuned settings, and sweeps of pipelines."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.report.page import Block, Line, Plot, Section, Table
from deeprec_env.report.sources import Source
from deeprec_env.report.words import number, with_ci

_LIMITS = {
    "sla": "its p95 reaches the target", "p99": "its p99 reaches its bound", "unstable": "the backlog grows",
    "infeasible": "it misses the target at any rate",
}  # fmt: skip


def capacity_sections(sources: Sequence[Source]) -> list[Section]:
    """Capacities, side by side."""
    verdicts: list[Block] = [
        f"{source.name} meets {number(source.scenario['sla_ms'])} ms at p{found['percentile']:g} up to "
        f"{with_ci(found['qps'], found['qps_ci'])} queries/s; beyond, {_limit(found['limited_by'])}."
        for source in sources
        if (found := source.payload) and source.scenario is not None
    ]
    columns = ("qps", "p95_only_qps", "batch_size", "threshold", "replications", "queries", "queries_used")
    rows = [[source.name, *(number(source.payload.get(key)) for key in columns)] for source in sources]
    lines = [
        Line(
            source.name,
            [float(place)],
            [source.payload["qps"]],
            *([end] for end in source.payload["qps_ci"] or (None, None)),
        )
        for place, source in enumerate(sources)
    ]
    names = [source.name for source in sources]
    plot = Plot("Capacity", "result", "queries/s", lines, names, joined=False)
    return [Section("Capacity", [*verdicts, Table(["", *(key.replace("_", " ") for key in columns)], rows), plot])]


def tune_sections(sources: Sequence[Source]) -> list[Section]:
    """Tuned settings, side by side."""
    columns = ("batch_size", "threshold", "qps", "p95_only_qps", "queries_used")
    rows = [[source.name, *(number(source.payload.get(key)) for key in columns)] for source in sources]
    return [Section("The setting found", [Table(["", *(key.replace("_", " ") for key in columns)], rows)])]


def map_sections(sources: Sequence[Source]) -> list[Section]:
    """Maps of capacity by batch size and threshold, one after the other."""
    found = []
    for source in sources:
        best = source.payload["best"]
        threshold = "never" if best["threshold"] is None else best["threshold"]
        words = (
            f"The best of {source.payload['settings']} settings is batch size {best['batch_size']}, threshold "
            f"{threshold}: {with_ci(best['qps'], best['qps_ci'])} queries/s; beyond, {_limit(best['limited_by'])}."
        )
        rows = _map(source)
        lines = []
        for threshold in dict.fromkeys(row["threshold"] for row in rows):
            mine = [row for row in rows if row["threshold"] == threshold]
            low, high = ([float(row[key]) if row[key] else None for row in mine] for key in ("qps_low", "qps_high"))
            sizes, qps = ([float(row[key]) for row in mine] for key in ("batch_size", "qps"))
            lines.append(
                Line("never offload" if threshold == "null" else f"from {threshold} items", sizes, qps, low, high)
            )
        plot = Plot("Capacity by batch size and offload threshold", "batch size", "queries/s", lines, log_x=True)
        columns = (
            "batch_size",
            "threshold",
            "qps",
            "qps_low",
            "qps_high",
            "limited_by",
            "busiest_pool",
            "busiest_load",
        )
        table = Table(
            [key.replace("_", " ") for key in columns], [[_cell(row[key]) for key in columns] for row in rows]
        )
        found.append(Section(f"Capacity map: {source.name}", [words, plot, table]))
    return found


def pipeline_sections(sources: Sequence[Source]) -> list[Section]:
    """Sweeps of pipelines: the front of quality and p95 at every rate."""
    found = []
    for source in sources:
        fronts = source.payload["fronts"]
        words = f"How many of {number(source.payload['pipelines'])} pipelines meet the target, and the best of them:"
        meeting = [
            [
                number(front["qps"]),
                number(front["meeting"]),
                number(front["front"][0]["quality"]) if front["front"] else "-",
            ]
            for front in fronts
        ]
        lines = [
            Line(
                f"{number(front['qps'])} queries/s",
                *([cell[key] for cell in front["front"]] for key in ("p95_ms", "quality")),
            )
            for front in fronts
            if front["front"]
        ]
        plot = Plot("Quality against tail latency, the fronts", "p95 ms", "quality", lines)
        columns = ("qps", *(key for key in _first_cell(fronts) if key != "qps"))
        rows = [[_cell(cell[key]) for key in columns] for front in fronts for cell in front["front"]]
        found.append(
            Section(
                f"Pipelines: {source.name}",
                [words, Table(("queries/s", "meet it", "best quality"), meeting), plot, Table(columns, rows)],
            )
        )
    return found


def _first_cell(fronts: Sequence[Any]) -> list[str]:
    return next((list(front["front"][0]) for front in fronts if front["front"]), [])


def _limit(limited_by: str) -> str:
    return _LIMITS.get(limited_by, f"{limited_by} is the limit")


def _cell(value: Any) -> str:
    try:
        return number(float(value))
    except (TypeError, ValueError):
        return "-" if value in (None, "") else str(value)


def _map(source: Source) -> list[dict[str, str]]:
    """The rows of a map, from the CSV that its JSON names."""
    path = Path(source.payload["csv"])
    try:
        with path.open(encoding="utf-8", newline="") as file:
            file.readline()  # the header says what it is of
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError("csv", str(path), f"must be there, with the map ({error.strerror})") from None
    if not rows or not {"batch_size", "threshold", "qps", "qps_low", "qps_high"} <= rows[0].keys():
        raise InputError("csv", str(path), "must be a map that 'deeprec capacity --sweep' wrote")
    return rows
