"""A section for several results of one kind: what `deeprec compare` finds, each against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deeprec_env.report.figures import ABSENT, Differences, differences, figures, in_brief, ratio_of
from deeprec_env.report.page import Block, Commands, Line, Plot, Section, Table
from deeprec_env.report.pairs import common_seeds, other_actions, pairs_of, question_of, same_traffic
from deeprec_env.report.sources import Source
from deeprec_env.report.words import number

MOST_ROWS = 60
"""Of a table of differences; `deeprec compare` has them all."""

SIDE_BY_SIDE = ("simulate", "simulate of a fleet", "live", "capacity", "tune", "train")
"""Kinds whose sections show the figures of all results beside each other already."""

_MOST_PLOTS = 4
_NO_FIGURES = ("actions", "episodes", "streams_sha256")


def sections(sources: Sequence[Source]) -> list[Section]:
    """None of a single result."""
    if len(sources) < 2:
        return []
    first, *others = sources
    asked = [differences(question_of(first.payload), question_of(source.payload)) for source in others]
    blocks: list[Block] = [_question_in_words(first, others, asked)]
    if any(asked):
        blocks += _table(sources, asked)
    if first.kind not in SIDE_BY_SIDE:
        answers = [_answers(first.payload, source.payload) for source in others]
        if any(answers):
            blocks += ["The answers:", *_table(sources, answers)]
    blocks += _paired(first, others)
    if len(sources) == 2 and all(source.path is not None for source in sources):
        blocks.append(Commands([f"deeprec compare {first.path} {others[0].path}"]))
    return [Section("What differs", blocks)]


def _question_in_words(first: Source, others: Sequence[Source], asked: Sequence[Differences]) -> str:
    same = [source.name for source, found in zip(others, asked, strict=True) if not found]
    traffic = [source.name for source in others if same_traffic(first.payload, source.payload)]
    words = [f"Asked the same as {first.name}: {', '.join(same)}."] if same else []
    if any(asked):
        words.append("What was asked differs in:")
    if traffic:
        words.insert(0, f"{', '.join([first.name, *traffic])} met the same traffic.")
    return " ".join(words)


def _answers(first: Mapping[str, Any], other: Mapping[str, Any]) -> Differences:
    found = differences(figures(first), figures(other))
    return {key: pair for key, pair in found.items() if key.partition(".")[0] not in _NO_FIGURES}


def _table(sources: Sequence[Source], found: Sequence[Differences]) -> list[Block]:
    """A row for each path that differs in any; the first result's value, then the others', with their ratio to it."""
    rows = []
    for path in dict.fromkeys(path for differs in found for path in differs):
        one = next(differs[path][0] for differs in found if path in differs)
        cells = []
        for differs in found:
            other = differs[path][1] if path in differs else one
            ratio = ratio_of(one, other) if path in differs else None
            cells.append(_value(other) + (f" ({ratio:.4g} x)" if ratio is not None else ""))
        rows.append([path, _value(one), *cells])
    left = [f"... and {len(rows) - MOST_ROWS} more."] if len(rows) > MOST_ROWS else []
    return [Table(["", *(source.name for source in sources)], rows[:MOST_ROWS]), *left]


def _value(value: Any) -> str:
    return ABSENT if value == ABSENT else in_brief(value)


def _paired(first: Source, others: Sequence[Source]) -> list[Block]:
    """Ratios to the first result's figures over the days that both have."""
    plots: dict[str, list[Line]] = {}
    words, names = [], list(first.payload.get("policies", {}))
    for source in others:
        seeds = common_seeds(first.payload, source.payload)
        acted = other_actions(first.payload, source.payload, seeds)
        if acted:
            words.append(f"{', '.join(acted)} acted otherwise in {source.name} than in {first.name}.")
        pairs = pairs_of(first.payload, source.payload, seeds)
        for figure in dict.fromkeys(figure for by_figure in pairs.values() for figure in by_figure):
            known = [
                (float(names.index(name)), by_figure[figure])
                for name, by_figure in pairs.items()
                if figure in by_figure and by_figure[figure]["ratio"] is not None and name in names
            ]
            if known:
                ends = zip(*(each["ratio_ci"] or (None, None) for _, each in known), strict=True)
                days = f"{source.name}, {number(len(seeds))} common days"
                line = Line(days, [at for at, _ in known], [each["ratio"] for _, each in known], *ends)
                plots.setdefault(figure, []).append(line)
    drawn = [
        Plot(f"{figure.replace('_', ' ')} in that of {first.name}, paired by day", "policy", "ratio", lines, names,
             joined=False, target=(1.0, f"as {first.name}"))
        for figure, lines in list(plots.items())[:_MOST_PLOTS]
    ]  # fmt: skip
    return [*words, *drawn]
