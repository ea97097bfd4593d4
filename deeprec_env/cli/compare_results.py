"""`deeprec compare`: what two results differ in, in what was asked and in what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json
from deeprec_env.provenance import KEY
from deeprec_env.report.figures import Differences, differences, figures, in_brief, ratio_of, read_known
from deeprec_env.report.pairs import Paired, common_seeds, other_actions, pairs_of, question_of, same_traffic
from deeprec_env.simulation.header import SCHEMA_VERSION

BY_EPISODE = ("actions", "episodes")
"""Keys of an evaluation that hold what the others are means of."""


def compare_results(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="What a command printed with --json.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another.")],
    json: Json = False,
) -> None:
    """Say what two results differ in, question and answer. Paired where traffic is the same; exit status 1 if any."""
    first, second = read_known(a), read_known(b)
    question = differences(question_of(first), question_of(second))
    answer = differences(figures(first), figures(second))
    told = {key: pair for key, pair in answer.items() if key.partition(".")[0] not in BY_EPISODE}
    seeds = common_seeds(first, second)
    pairs, others = pairs_of(first, second, seeds), other_actions(first, second, seeds)
    if json:
        console.print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "same": not question and not answer,
                "same_traffic": same_traffic(first, second),
                "question": {key: {"a": one, "b": other} for key, (one, other) in question.items()},
                "answer": {
                    key: {"a": one, "b": other, "ratio": ratio_of(one, other)} for key, (one, other) in told.items()
                },
                "other_actions": others,
                "paired_seeds": seeds if pairs else [],
                "paired": pairs,
            }
        )
    else:
        _tell(question, told, pairs, seeds)
        if others:
            typer.echo(f"other actions: {', '.join(others)}")
        if same_traffic(first, second) and told:
            typer.echo("both met the same traffic")
    if question or answer:
        raise typer.Exit(1)


def _tell(question: Differences, answer: Differences, pairs: Paired, seeds: list[int]) -> None:
    for what, found in ((KEY, question), ("answer", answer)):
        if not found:
            typer.echo(f"{what}: the same")
            continue
        rows = []
        for key, (one, other) in found.items():
            ratio = ratio_of(one, other)
            rows.append([key, in_brief(one), in_brief(other), "" if ratio is None else f"{ratio:.4g}"])
        console.print_table(what, ("", "A", "B", "B/A"), rows)
    rows = [
        [
            name,
            figure,
            f"{entry['a']:.5g}",
            f"{entry['b']:.5g}",
            _with_ci(entry, "difference"),
            _with_ci(entry, "ratio"),
        ]
        for name, by_figure in pairs.items()
        for figure, entry in by_figure.items()
    ]
    if rows:
        title = f"paired, on the same days (seeds {', '.join(map(str, seeds))}), with intervals of 95 %"
        console.print_table(title, ("policy", "figure", "A", "B", "B - A", "B/A"), rows)


def _with_ci(entry: Mapping[str, Any], name: str) -> str:
    if entry[name] is None:
        return "-"
    ci = entry[f"{name}_ci"]
    return f"{entry[name]:.4g}" + (f" [{ci[0]:.4g}, {ci[1]:.4g}]" if ci else "")
