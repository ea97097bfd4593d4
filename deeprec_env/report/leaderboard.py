"""The leaderboard: rows of evaluations on the same test days, ranked; each is verified before (`deeprec verify`).

A board is what can be compared: one environment, scenario and choice of traffic, the same days. Its rows may come from
several files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.paired import Estimate, Scale
from deeprec_env.report.page import Line, Page, Plot, Section, Table
from deeprec_env.report.report import made_section
from deeprec_env.report.sources import Source
from deeprec_env.report.words import in_words, number, with_ci

COMMAND = "evaluate"

REFERENCES = ("rate-oracle", "hindsight")
"""They see what no server can, and are no entries."""

BASES = ("grid-day", "best-fixed", "deeprecsched", "static")
"""What rows are compared with: the first of these that a board has."""


@dataclass(frozen=True)
class Measure:
    """What a board is ranked by: a figure of an episode; `unit` is what the table's is of it."""

    figure: str
    name: str
    lower: bool
    unit: float = 1.0
    scale: Scale = paired.POSITIVE


MEASURES = (
    Measure("p95_hourly_s", "hourly p95 ms", lower=True, unit=1e3),
    Measure("goodput_qps", "goodput, queries/s", lower=False),
    Measure("goodput", "goodput", lower=False),
    Measure("reward", "reward", lower=False, scale=paired.PLAIN),
)
"""The first that all rows have, goodput before percentiles where one of them sheds queries."""


@dataclass(frozen=True)
class Row:
    """A policy of a file."""

    label: str
    source: Source

    @property
    def entry(self) -> Mapping[str, Any]:
        """Its figures."""
        found: Mapping[str, Any] = self.source.payload["policies"][self._own]
        return found

    @property
    def episodes(self) -> Mapping[str, Sequence[float]]:
        """Its figures by day."""
        found: Mapping[str, Sequence[float]] = self.source.payload["episodes"][self._own]
        return found

    @property
    def _own(self) -> str:
        return self.label.removesuffix(f" ({self.source.name})")


def leaderboard_page(sources: Sequence[Source], drawn: bool = True) -> Page:
    """The boards of some verified evaluations, `drawn` or as tables alone; `InputError` for another kind of result."""
    for source in sources:
        if source.command != COMMAND:
            raise InputError("result", source.name, f"must be a result of {COMMAND}: it is one of {source.command}")
    boards: dict[str, list[Source]] = {}
    for source in sources:
        boards.setdefault(_key(source), []).append(source)
    sections = [_board(together, drawn) for together in boards.values()]
    return Page("Leaderboard", [*sections, made_section(sources)])


def _key(source: Source) -> str:
    """What is the same of results that can be compared."""
    asked, payload = source.question, source.payload
    of = {name: asked["arguments"].get(name) for name in ("environment", "choices")}
    days = payload.get("streams_sha256"), payload["seeds"], asked["split"], asked["scenario"]
    return json.dumps([of, days], sort_keys=True)


def _rows(sources: Sequence[Source]) -> list[Row]:
    """Every policy once; of the same name in several files those that did something else, named by their file."""
    found: list[Row] = []
    done: dict[str, list[Any]] = {}
    for source in sources:
        for label in source.payload["policies"]:
            actions = source.payload["actions"][label]["episodes"]
            known = done.setdefault(label, [])
            if actions not in known:
                found.append(Row(f"{label} ({source.name})" if known else label, source))
                known.append(actions)
    return found


def _measure(rows: Sequence[Row]) -> Measure:
    sheds = any(any(row.episodes.get("shed_rate", ())) for row in rows)
    for measure in MEASURES:
        known = all(None not in row.episodes.get(measure.figure, (None,)) for row in rows)
        if known and not (sheds and measure.lower):
            return measure
    raise InputError("result", rows[0].source.name, f"must have {' or '.join(each.figure for each in MEASURES)}")


def _board(sources: Sequence[Source], drawn: bool) -> Section:
    rows = _rows(sources)
    measure = _measure(rows)
    values = {row.label: paired.mean(row.episodes[measure.figure], measure.scale) for row in rows}
    ranked = sorted(rows, key=lambda row: values[row.label].value * (1 if measure.lower else -1))
    base = next((row for name in BASES for row in ranked if row.label == name), ranked[-1])
    columns = ["", "policy", measure.name, f"in {base.label}'s", "late queries", "capacity, queries/s (c)",
               "tuning queries (c)", "file"]  # fmt: skip
    table, place = [], 0
    for row in ranked:
        reference = row.label in REFERENCES
        place += not reference
        versus = None if row is base else paired.ratio(row.episodes[measure.figure], base.episodes[measure.figure])
        table.append(
            [
                "-" if reference else str(place),
                row.label,
                _estimate(values[row.label], measure.unit),
                "1" if row is base else "-" if versus is None else with_ci(versus.value, versus.ci, 3),
                _share(row.entry.get("violation_rate")),
                number(row.entry.get("capacity_qps")),
                number(row.entry.get("tuning_queries")),
                row.source.name,
            ]
        )
    seeds, asked = sources[0].payload["seeds"], sources[0].question
    words = (
        f"{in_words(asked['scenario'])} {len(seeds)} test days, seeds {seeds[0]} to {seeds[-1]}; ranked by "
        f"{measure.name}, {'less' if measure.lower else 'more'} is better. Ratios are paired by day."
    )
    claimed = "(c): claimed by the file, not verified; a capacity needs the policy. A row without a place sees ahead."
    lines = [
        Line(row.label, [float(at)], [value.value * measure.unit], *([end] for end in _ends(value, measure.unit)))
        for at, row in enumerate(ranked)
        if (value := values[row.label])
    ]
    plot = Plot(measure.name, "policy", measure.name, lines, [row.label for row in ranked], joined=False)
    choices = asked["arguments"].get("choices") or {}
    told = "".join(f", {name} {value}" for name, value in choices.items())
    names = ", ".join(dict.fromkeys(source.name for source in sources))
    heading = f"{asked['arguments']['environment']}{told}: {names}"
    return Section(heading, [words, Table(columns, table), claimed, *([plot] if drawn else [])])


def _ends(value: Estimate, unit: float) -> tuple[float | None, float | None]:
    return (None, None) if value.ci is None else (value.ci[0] * unit, value.ci[1] * unit)


def _estimate(value: Estimate, unit: float) -> str:
    return with_ci(value.value * unit, _ends(value, unit))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
