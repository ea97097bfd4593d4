"""Sections of what stands beside published figures: DeepRecSys's and RecPipe's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deeprec_env.report.page import Block, Line, Plot, Section, Table
from deeprec_env.report.sources import Source
from deeprec_env.report.words import number, with_ci

MOST_ROWS = 200
"""Rows of a figure's data that are listed."""

_NAMES = {"qps": "QPS", "qps_per_watt": "QPS per watt", "cpu": "CPU only", "accelerator": "with an accelerator",
          "full": "p95, p99 and load", "p95-only": "p95 alone"}  # fmt: skip


def paper_sections(sources: Sequence[Source]) -> list[Section]:
    """`deeprec paper`: gains over static beside the published ones."""
    found = []
    for source in sources:
        gains: Sequence[Mapping[str, Any]] = source.payload["gains"]
        cases = dict.fromkeys((gain["figure"], gain["node"], gain["rule"]) for gain in gains)
        for case in cases:
            mine = [gain for gain in gains if (gain["figure"], gain["node"], gain["rule"]) == case]
            found.append(Section(_heading(case, source, sources), _gains(mine)))
    return found


def _heading(case: tuple[str, str, str], source: Source, sources: Sequence[Source]) -> str:
    figure, node, rule = (_NAMES.get(part, part) for part in case)
    of = f"{source.name}: " if len(sources) > 1 else ""
    return f"{of}{figure} over static's, node {node}, rule: {rule}"


def _gains(gains: Sequence[Mapping[str, Any]]) -> list[Block]:
    targets = list(dict.fromkeys(gain["target"] for gain in gains))
    methods = list(dict.fromkeys(gain["method"] for gain in gains))
    by = {(gain["method"], gain["target"]): gain for gain in gains}
    published = [by[methods[0], target]["published"] for target in targets]
    rows = [
        [method, *(with_ci(by[method, target]["gain"], by[method, target]["ci"], 3) for target in targets)]
        for method in methods
    ]
    rows.append(["published", *(number(value) for value in published)])
    lines = []
    for method in methods:
        known = [place for place, target in enumerate(targets) if by[method, target]["gain"] is not None]
        each = [by[method, targets[place]] for place in known]
        ends = zip(*(gain["ci"] or (None, None) for gain in each), strict=True)
        lines.append(Line(method, list(map(float, known)), [gain["gain"] for gain in each], *ends))
    lines.append(Line("published", [float(place) for place in range(len(targets))], published))
    out = dict.fromkeys(f"{which} at the {gain['target']} target" for gain in gains for which in gain["left_out"])
    left_out = [f"Left out, since no rate meets the target: {', '.join(out)}."] if out else []
    plot = Plot("Gain over static", "target", "times static's", lines, targets, joined=False, target=(1.0, "static"))
    return [*_best(by, methods, targets), Table(["method", *targets], rows), plot, *left_out]


def _best(
    by: Mapping[tuple[str, str], Mapping[str, Any]], methods: Sequence[str], targets: Sequence[str]
) -> list[Block]:
    """Of every target, which method gains most, beside what was published."""
    found: list[Block] = []
    for target in targets:
        known = [method for method in methods if by[method, target]["gain"] is not None]
        if known:
            best = max(known, key=lambda method: by[method, target]["gain"])
            gain = by[best, target]
            text = f"{with_ci(gain['gain'], gain['ci'], 3)} times static's with {best}"
            found.append(f"At the {target} target: {text}; published: {number(gain['published'])}.")
    return found


def fleet_sections(sources: Sequence[Source]) -> list[Section]:
    """`deeprec fleet paper`: DeepRecSys's claims about production."""
    return [section for source in sources for section in _fleet(source, f", {source.name}" if sources[1:] else "")]


def _fleet(source: Source, suffix: str) -> list[Section]:
    found = source.payload
    methods: Mapping[str, Mapping[str, Any]] = found["methods"]
    published: Mapping[str, float] = found["published"]
    words: list[Block] = [
        f"{method}: p95 is {with_ci(of['gain']['p95']['ratio'], of['gain']['p95']['ci'])} times lower than under the "
        f"static rule, p99 {with_ci(of['gain']['p99']['ratio'], of['gain']['p99']['ci'])} times."
        for method, of in methods.items()
        if method != "static" and all(of["gain"].values())
    ]
    keys = ("p50_ms", "p95_ms", "p99_ms")
    rows = [
        [method, *(number(of[key]) for key in keys), f"{of['violation_rate']:.3%}",
         *(with_ci(gain["ratio"], gain["ci"]) if gain else "-" for gain in of["gain"].values())]
        for method, of in methods.items()
    ]  # fmt: skip
    columns = ("", "p50 ms", "p95 ms", "p99 ms", "late", *(f"gain of {name}" for name in published))
    names, lines = list(published), []
    for method, of in methods.items():
        known = [(float(names.index(name)), gain) for name, gain in of["gain"].items() if gain]
        ends = zip(*(gain["ci"] or (None, None) for _, gain in known), strict=True)
        lines.append(Line(method, [at for at, _ in known], [gain["ratio"] for _, gain in known], *ends))
    lines.append(Line("published", [float(place) for place in range(len(names))], list(published.values())))
    gains = Plot("How many times lower than static", "figure", "times", lines, names, joined=False)
    close = [
        Line(method, [float(count) for count in of["within_10_percent"]], list(of["within_10_percent"].values()))
        for method, of in methods.items()
    ]
    title = "Probability that a sample of machines has p50, p95 and p99 within 10 % of the fleet's"
    first = f"A day of {found['machines']} machines, equally many of {', '.join(found['kinds'])}; "
    days = f"{len(found['seeds'])} test days, {number(found['tuning_queries'])} simulated queries of tuning."
    return [
        Section(f"Gains{suffix}", [first + days, *words, Table(columns, rows), gains]),
        Section(f"A handful of machines{suffix}", [Plot(title, "machines", "probability", close, log_x=True)]),
    ]


def headlines_sections(sources: Sequence[Source]) -> list[Section]:
    """`deeprec pipeline headlines`: two stages against one, beside what RecPipe published."""
    found = []
    for source in sources:
        rows: Sequence[Mapping[str, Any]] = source.payload["headlines"]
        names = [f"{row['headline']} ({row['arrivals']} arrivals, {row['model']})" for row in rows]
        keys = ("one_stage", "two_stages", "ratio", "published")
        table = [[name, *(number(row[key]) for key in keys)] for name, row in zip(names, rows, strict=True)]
        lines = []
        for key, name in (("ratio", "simulated"), ("published", "published")):
            known = [place for place, row in enumerate(rows) if row[key] is not None]
            lines.append(Line(name, list(map(float, known)), [rows[place][key] for place in known]))
        plot = Plot("In favour of two stages", "headline", "ratio", lines, names, joined=False, target=(1.0, "even"))
        columns = ("", "one stage", "two stages", "ratio", "published ratio")
        found.append(Section(f"Two stages against one: {source.name}", [Table(columns, table), plot]))
    return found


def figure_sections(sources: Sequence[Source]) -> list[Section]:
    """`deeprec pipeline figure`: the data of one of RecPipe's figures."""
    found = []
    for source in sources:
        data: Sequence[Mapping[str, Any]] = source.payload["data"]
        columns = list(dict.fromkeys(key for row in data for key in row))
        rows = [[_cell(row.get(key)) for key in columns] for row in data[:MOST_ROWS]]
        left = [f"... and {len(data) - MOST_ROWS} more."] if len(data) > MOST_ROWS else []
        named = [key.replace("_", " ") for key in columns]
        found.append(Section(f"Figure {source.payload['figure']}: {source.name}", [Table(named, rows), *left]))
    return found


def _cell(value: Any) -> str:
    return number(value) if value is None or isinstance(value, int | float) else str(value)
