"""Sections of several scenarios under the same traffic: `deeprec simulate A B`, and `--sweep`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from deeprec_env.report.page import Block, Line, Plot, Section, Table
from deeprec_env.report.sources import Source
from deeprec_env.report.words import in_words, with_ci

_DRAWN = ("p95_ms", "p99_ms", "goodput_qps", "joules_per_query")
_RATIOS = ("p95_ms", "p99_ms", "joules_per_query")


def sections(sources: Sequence[Source]) -> list[Section]:
    """What came of some comparisons, one after the other."""
    return [Section(f"Side by side: {source.name}", _of_one(source)) for source in sources]


def _of_one(source: Source) -> list[Block]:
    runs: Mapping[str, Mapping[str, Any]] = source.payload["runs"]
    first, names = next(iter(runs)), list(runs)
    same = "the same traffic" if source.payload["same_traffic"] else "traffic of the same seeds"
    seeds = source.payload["seeds"]
    words = f"{len(seeds)} runs each, of {source.payload['queries']:,} queries; all met {same}."
    scenario = f"{first}: {in_words(source.question['arguments']['scenarios'][first])}"
    figures = [key for key in runs[first] if f"{key}_ci" in runs[first]]
    rows = [
        [
            name,
            *(with_ci(entry[key], entry[f"{key}_ci"]) for key in figures),
            ", ".join(f"{count} {verdict}" for verdict, count in sorted(Counter(entry["verdicts"]).items())),
        ]
        for name, entry in runs.items()
    ]
    blocks: list[Block] = [scenario, words, Table(["", *(key.replace("_", " ") for key in figures), "verdicts"], rows)]
    blocks += [plot for key in _DRAWN if key in figures if (plot := _dots(runs, names, key)) is not None]
    others = [name for name in names if name != first]
    lines = []
    for key in _RATIOS:
        versus = [(place, runs[name]["vs"][first].get(key)) for place, name in enumerate(others)]
        known = [(float(place), each) for place, each in versus if each and each["ratio"] is not None]
        ends = zip(*(each["ci"] or (None, None) for _, each in known), strict=True)
        if known:
            lines.append(Line(key.replace("_", " "), [at for at, _ in known], [e["ratio"] for _, e in known], *ends))
    if lines:
        title = f"In those of {first}, paired by seed"
        blocks.append(Plot(title, "scenario", "ratio", lines, others, joined=False, target=(1.0, f"as {first}")))
    return blocks


def _dots(runs: Mapping[str, Mapping[str, Any]], names: Sequence[str], key: str) -> Plot | None:
    lines = [
        Line(name, [float(place)], [entry[key]], *([end] for end in entry[f"{key}_ci"] or (None, None)))
        for place, (name, entry) in enumerate(runs.items())
        if entry[key] is not None
    ]
    label = key.replace("_", " ")
    return Plot(label, "scenario", label, lines, names, joined=False) if lines else None
