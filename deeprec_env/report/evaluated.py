"""Sections of comparisons: `deeprec evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deeprec_env.report.page import Line, Plot, Section, Table
from deeprec_env.report.sources import Source
from deeprec_env.report.words import number, with_ci

_REFERENCES = ("grid-day", "best-fixed", "grid-capacity", "static")
"""What others are compared with in words: the first of these that is there."""

_TARGETS = ("p95_hourly_ms", "p95_ms")


def sections(sources: Sequence[Source]) -> list[Section]:
    """What came of some comparisons, one after the other."""
    return [part for source in sources for part in _of_one(source, f", {source.name}" if len(sources) > 1 else "")]


def _of_one(source: Source, suffix: str) -> list[Section]:
    policies: Mapping[str, Mapping[str, Any]] = source.payload["policies"]
    intervals = _intervals(next(iter(policies.values())))
    main = next(iter(intervals))
    told = [key for key in intervals if len({entry[key] for entry in policies.values()} - {None}) > 1]
    plots = [_dots(source, policies, key) for key in told[:4]]
    seeds = source.payload["seeds"]
    days = f"{len(seeds)} test episodes, seeds {seeds[0]} to {seeds[-1]}, the same for all."
    return [
        Section(f"Verdict{suffix}", [days, *_verdicts(policies, main)]),
        Section(f"Figures{suffix}", [_table(policies, intervals), *plots]),
        Section(f"By episode{suffix}", _episodes(source)),
    ]


def _intervals(entry: Mapping[str, Any]) -> dict[str, str]:
    """Keys of figures with those of their intervals."""
    found = {}
    for key, value in entry.items():
        head, _, unit = key.rpartition("_")
        for name in (f"{key}_ci", f"{head}_ci_{unit}"):
            if name in entry and (value is None or isinstance(value, int | float)):
                found[key] = name
    return found


def _verdicts(policies: Mapping[str, Mapping[str, Any]], main: str) -> list[str]:
    reference = next((name for name in _REFERENCES if name in policies), next(iter(policies)))
    found = []
    for name, entry in policies.items():
        versus = entry.get("vs", {}).get(reference)
        if not versus or versus.get("ratio") is None:
            continue
        ratio, ci = versus["ratio"], versus.get("ci")
        sure = "" if ci is None else " (the interval does not reach 1)" if not ci[0] <= 1 <= ci[1] else " (undecided)"
        of = f" {main.replace('_', ' ')}" if main in _TARGETS[:1] else ""
        found.append(f"{name}: {with_ci(ratio, ci, 3)} times {reference}'s{of}{sure}.")
    late = [f"{name} {entry['violation_rate']:.2%}" for name, entry in policies.items() if "violation_rate" in entry]
    return [*found, f"Queries over the target: {', '.join(late)}."] if late else found


def _table(policies: Mapping[str, Mapping[str, Any]], intervals: Mapping[str, str]) -> Table:
    first = next(iter(policies.values()))
    shown = [key for key, value in first.items() if key not in intervals.values() and not isinstance(value, Mapping)]
    rows = []
    for name, entry in policies.items():
        cells = [
            entry[key] if isinstance(entry[key], str)
            else with_ci(entry[key], entry[intervals[key]]) if key in intervals
            else number(entry[key]) if entry[key] is None or isinstance(entry[key], int | float) else str(entry[key])
            for key in shown
        ]  # fmt: skip
        rows.append([name, *cells])
    return Table(["policy", *(key.replace("_", " ") for key in shown)], rows)


def _dots(source: Source, policies: Mapping[str, Mapping[str, Any]], key: str) -> Plot:
    lines = []
    names = list(policies)
    interval = _intervals(next(iter(policies.values())))[key]
    for place, (name, entry) in enumerate(policies.items()):
        if entry[key] is not None:
            low, high = entry[interval] or (None, None)
            lines.append(Line(name, [float(place)], [entry[key]], [low], [high]))
    values = [line.y[0] for line in lines if line.y[0] > 0.0]
    wide = bool(values) and len(values) == len(lines) and max(values) > 20 * min(values)
    target = (float(source.payload["sla_ms"]), "target") if key in _TARGETS else None
    label = key.replace("_", " ")
    return Plot(label, "policy", label, lines, names, joined=False, log_y=wide, target=target)


def _episodes(source: Source) -> list[Plot]:
    """The figure of the days that the comparison is about, seed by seed."""
    episodes: Mapping[str, Mapping[str, list[float]]] = source.payload["episodes"]
    first = next(iter(episodes.values()))
    figure = next((name for name in ("p95_hourly_s", "goodput", "reward") if name in first), next(iter(first), None))
    if figure is None:
        return []
    seeds = [float(seed) for seed in source.payload["seeds"]]
    lines = [Line(name, seeds, list(of[figure])) for name, of in episodes.items() if None not in of[figure]]
    values = [value for line in lines for value in line.y]
    wide = min(values, default=0.0) > 0.0 and max(values) > 20 * min(values)
    label = figure.replace("_", " ")
    return [Plot(f"{label} of every test episode", "seed", label, lines, log_y=wide)]
