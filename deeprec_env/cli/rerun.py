"""`deeprec rerun`: a result's question asked again, and the figures compared."""

from __future__ import annotations

import inspect
import json as json_format
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json
from deeprec_env.errors import InputError
from deeprec_env.provenance import KEY, Question, read_result
from deeprec_env.simulation.header import SCHEMA_VERSION

ResultFile = Annotated[Path, typer.Argument(metavar="RESULT.json", help="What a command printed with --json.")]

NOT_FIGURES = frozenset({KEY, "versions", "folder", "files", "csv", "png"})
"""Keys of results that may differ where the answer is the same."""

SHOWN = 10
"""Differences that are shown to a reader."""


def rerun(
    result: ResultFile,
    json: Json = False,
) -> None:
    """Repeat a result and compare its figures. Exit status 0: the same, 1: not."""
    before = read_result(result)
    if before.get("schema_version") != SCHEMA_VERSION:
        raise InputError("schema_version", before.get("schema_version"), f"must be {SCHEMA_VERSION}")
    question = Question.of_json(before[KEY])
    if question.command not in RUNNERS:
        raise InputError(f"{KEY}.command", question.command, f"must be one of {', '.join(RUNNERS)}")
    if question.unrepeatable:
        raise InputError("result", str(result), f"can't be had again from its {KEY}: {question.unrepeatable}")
    with console.progress(f"rerun {question.command}", None, quiet=json), tempfile.TemporaryDirectory() as folder:
        after = RUNNERS[question.command](question, Path(folder))
    found = differences(figures(before), figures(after))
    sources = {"before": question.sources, "now": after[KEY]["sources"]}
    if json:
        named = {key: {"before": old, "now": new} for key, (old, new) in found.items()}
        console.print_json(
            {"schema_version": SCHEMA_VERSION, "same": not found, "differences": named, "sources": sources}
        )
    else:
        _tell(found, sources)
    if found:
        raise typer.Exit(1)


def figures(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A result's answer: by key path, without versions and names of files."""
    plain = json_format.loads(console.json_text(payload))
    return {path: value for path, value in _leaves(plain) if path.partition(".")[0] not in NOT_FIGURES}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The keys that differ, with both values; what one of them lacks is "absent" there."""
    keys = list(dict.fromkeys([*before, *now]))
    pairs = {key: (before.get(key, "absent"), now.get(key, "absent")) for key in keys}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new or type(old) is not type(new)}


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not path):
        return [leaf for key, entry in value.items() for leaf in _leaves(entry, f"{path}.{key}" if path else key)]
    return [(path, value)]


def _tell(found: Mapping[str, tuple[Any, Any]], sources: Mapping[str, str]) -> None:
    if sources["before"] != sources["now"]:
        typer.echo(f"other sources: {sources['before']} before, {sources['now']} now", err=True)
    if not found:
        typer.echo("same")
        return
    typer.echo(f"not the same: {len(found)} of its figures differ")
    for key, (old, new) in list(found.items())[:SHOWN]:
        typer.echo(f"{key}: {json_format.dumps(old)} before, {json_format.dumps(new)} now")
    if len(found) > SHOWN:
        typer.echo(f"... and {len(found) - SHOWN} more (--json has them all)")


def _simulate(question: Question, folder: Path) -> dict[str, Any]:
    from deeprec_env.simulation.simulate import simulate

    # Whether every query was kept decides whether percentiles are exact, of long runs.
    records = folder / "records.csv" if question.arguments.get("records") else None
    arguments = {**_arguments(question, simulate), "records": records}
    return simulate(
        question.scenario, seed=question.seed, split=question.split, engine=question.engine, **arguments
    ).to_json()


def _capacity(question: Question, folder: Path) -> dict[str, Any]:
    from deeprec_env.analysis.capacity import find_capacity

    arguments = _arguments(question, find_capacity)
    return find_capacity(
        question.scenario, seed=question.seed, split=question.split, engine=question.engine, **arguments
    ).to_json()


def _arguments(question: Question, function: Callable[..., Any]) -> dict[str, Any]:
    """The question's arguments; `InputError` for those that the function does not have."""
    known = list(inspect.signature(function).parameters)
    for name, value in question.arguments.items():
        if name not in known:
            raise InputError(f"{KEY}.arguments.{name}", value, f"must be one of {', '.join(known)}")
    return dict(question.arguments)


RUNNERS: dict[str, Callable[[Question, Path], dict[str, Any]]] = {
    "simulate": _simulate,
    "capacity": _capacity,
}
"""By command: asks a question again, with a folder that is removed afterwards."""
