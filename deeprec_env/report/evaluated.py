"""Sections of comparisons: `deeprec evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deeprec_env.report.page import Line, Plot, Section, Table
from deeprec_env.report.sources import Source
from deeprec_env.report.words import label, number, with_ci

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
        Section(f"Verdict{suffix}", [days, *_verdicts(policies, main, float(source.payload["sla_ms"]))]),
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


def _verdicts(policies: Mapping[str, Mapping[str, Any]], main: str, sla_ms: float) -> list[str]:
    reference = next((name for name in _REFERENCES if name in policies), next(iter(policies)))
    latency = main in _TARGETS[:1]
    found = [f"{label(main)}: the mean over the day's hours of the hour's p95."] if latency else []
    for name, entry in policies.items():
        versus = entry.get("vs", {}).get(reference) or {}
        ratio, ci = versus.get("ratio"), versus.get("ci")
        said = [] if ratio is None else [_against(name, reference, ratio, ci, latency)]
        if latency and name != reference:
            said += _kept(entry, sla_ms)
        elif latency and (kept := _kept(entry, sla_ms)):
            said = [f"{name}, which the others are compared with: {kept[0]}", *kept[1:]]
        if said:
            found.append(f"{'; '.join(said)}.")
    late = [f"{name} {entry['violation_rate']:.2%}" for name, entry in policies.items() if "violation_rate" in entry]
    return [*found, f"Late queries (over the target): {', '.join(late)}."] if late else found


def _against(name: str, reference: str, ratio: float, ci: Sequence[float] | None, latency: bool) -> str:
    """A ratio to the reference's figure, and what it shows; of a latency, which of the two is quicker."""
    sure = ci is not None and not ci[0] <= 1 <= ci[1]
    reach = "" if ci is None else ", and the interval does not reach 1" if sure else ", undecided: the interval holds 1"
    if not latency or ci is None:
        return f"{name}: {with_ci(ratio, ci, 3)} times {reference}'s{' hourly p95' if latency else ''}{reach}"
    word = ("slower" if ratio > 1 else "quicker") if sure else "neither surely slower nor quicker"
    return f"{name} is {word} than {reference}: {with_ci(ratio, ci, 3)} times its hourly p95{reach}"


def _kept(entry: Mapping[str, Any], sla_ms: float) -> list[str]:
    """Whether the p95 of the days keeps the target, and how many queries were late."""
    if entry.get("p95_day_ms") is None:
        return []
    word = "keeps" if entry["p95_day_ms"] <= sla_ms else "misses"
    late = f", {entry['violation_rate']:.2%} of its queries were late" if "violation_rate" in entry else ""
    return [
        f"the p95 of the whole day, {number(entry['p95_day_ms'])} ms, {word} the target of {number(sla_ms)} ms{late}"
    ]


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
    told = [place for place in range(len(shown) + 1) if any(row[place] != "-" for row in rows)]
    columns = ["policy", *map(label, shown)]
    return Table([columns[place] for place in told], [[row[place] for place in told] for row in rows])


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
    words = label(key)
    return Plot(words, "policy", words, lines, names, joined=False, log_y=wide, target=target)


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
    words = label(figure)
    return [Plot(f"{words} of every test episode", "seed", words, lines, log_y=wide)]
