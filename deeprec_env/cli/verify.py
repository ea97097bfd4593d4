"""`deeprec verify`: the rows of an evaluation replayed from what they did, without policies or tuning."""

from __future__ import annotations

import json as json_format
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json
from deeprec_env.cli.rerun import SHOWN, replayed
from deeprec_env.errors import InputError
from deeprec_env.progress import Progress
from deeprec_env.provenance import KEY, Question
from deeprec_env.report.figures import Differences, differences, figures, read_known
from deeprec_env.simulation.header import SCHEMA_VERSION, versions

BY_ROW = ("policies", "episodes", "actions")
"""Keys of an evaluation that hold something of each policy."""

CLAIMED = ("capacity_qps", "capacity_ratio", "tuning_queries", "setting")
"""What does not follow from what a row did: it needs the policy, or is what was said of it and its tuning."""

VERSION = "deeprec_env"

ROUNDING = 1e-9
"""Intervals may differ by such a share: another version of SciPy has other last digits in its quantiles."""


def verify(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="What 'deeprec evaluate --json' printed.")],
    rows: Annotated[str | None, typer.Option(help="Rows to verify, comma-separated (default: all).")] = None,
    json: Json = False,
) -> None:
    """Replay an evaluation from what its rows did. No policy runs. Exit status 0: the same figures, 1: not."""
    before = read_known(result)
    labels = rows_of(before)
    chosen = labels if rows is None else [row.strip() for row in rows.split(",")]
    for row in chosen:
        if row not in labels:
            raise InputError("rows", row, f"must be of {', '.join(labels)}")
    with console.telling("verify", quiet=json) as update:
        wrong = differences_of_rows(before, chosen, update)
    if json:
        named = {
            row: {path: {"before": one, "now": other} for path, (one, other) in pairs.items()}
            for row, pairs in wrong.items()
        }
        console.print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "same": not wrong,
                "rows": chosen,
                "differences": named,
                "not_verified": list(CLAIMED),
                "versions": versions(),
            }
        )
    else:
        tell(wrong, chosen)
    if wrong:
        raise typer.Exit(1)


def differences_of_rows(before: Mapping[str, Any], chosen: list[str], update: Progress) -> dict[str, Differences]:
    """What differs from an evaluation's result once it is replayed, by row; empty where all is the same.

    Under "versions" where another version made it (then nothing is replayed), under the key of what is of no row.
    """
    found = _other_versions(before)
    if not found:
        found = _replay(Question.of_json(before[KEY]), before, chosen, update)
    labels = rows_of(before)
    return {row: found[row] for row in found if row in chosen or row not in labels}


def rows_of(before: Mapping[str, Any]) -> list[str]:
    """The rows of an evaluation's result; `InputError` for another result, and for a row without what it did."""
    command = before[KEY].get("command")
    if command != "evaluate":
        raise InputError(f"{KEY}.command", command, "must be evaluate: other results are repeated by 'deeprec rerun'")
    for key in BY_ROW:
        if not isinstance(before.get(key), dict) or not before[key]:
            raise InputError(key, before.get(key), "must be a mapping by policy, as 'deeprec evaluate' writes it")
    labels = before[KEY].get("arguments", {}).get("labels")
    if not isinstance(labels, list) or set(labels) != set(before["policies"]):
        raise InputError(f"{KEY}.arguments.labels", labels, f"must name the rows {', '.join(before['policies'])}")
    for label in labels:
        for key in BY_ROW:
            if label not in before[key]:
                raise InputError(f"{key}.{label}", None, "must be there: a row is replayed from it")
    return [str(label) for label in labels]


def _other_versions(before: Mapping[str, Any]) -> dict[str, Differences]:
    """What made the result, where it was another version of this package."""
    made = before.get("versions", {}).get(VERSION)
    now = versions()[VERSION]
    return {} if made == now else {"versions": {VERSION: (made, now)}}


def _replay(
    question: Question, before: Mapping[str, Any], chosen: list[str], update: Progress
) -> dict[str, Differences]:
    """What differs, by row; what is of no row under the name of its key."""
    try:
        after = replayed(question, before["actions"], before["policies"], update)
    except InputError as error:
        return _one_by_one(question, before, chosen, error)
    now, then = figures(after), figures(before)
    found = {
        label: {
            path: pair
            for key in BY_ROW
            for path, pair in differences(then[key][label], now[key].get(label), key).items()
            if key == "actions" or (path.split(".")[1] not in CLAIMED and not _is_rounding(path, *pair))
        }
        for label in then["policies"]
    }
    changed = {label for label, pairs in found.items() if any(path.partition(".")[0] != "policies" for path in pairs)}
    for label, pairs in found.items():  # a ratio to another row differs where that row does
        if label not in changed:
            of_others = tuple(f"policies.vs.{other}." for other in changed)
            found[label] = {path: pair for path, pair in pairs.items() if not path.startswith(of_others)}
    rest = differences(_header(then), _header(now))
    return {label: pairs for label, pairs in found.items() if pairs} | ({"evaluation": rest} if rest else {})


def _is_rounding(path: str, one: Any, other: Any) -> bool:
    """Whether this is an interval, twice the same but for `ROUNDING`."""
    if "ci" not in path.rpartition(".")[2].split("_") or not (isinstance(one, list) and isinstance(other, list)):
        return False
    numbers = all(isinstance(value, float) for value in (*one, *other)) and len(one) == len(other)
    return numbers and all(math.isclose(*ends, rel_tol=ROUNDING) for ends in zip(one, other, strict=True))


def _header(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in BY_ROW}


def _one_by_one(
    question: Question, before: Mapping[str, Any], chosen: list[str], error: InputError
) -> dict[str, Differences]:
    """Which rows can't be replayed, and why; the error itself, if it is of none of them."""
    found: dict[str, Differences] = {}
    for label in chosen:
        try:
            replayed(question, before["actions"], [label])
        except InputError as reason:
            found[label] = {"actions": ("as recorded", str(reason))}
    if not found:
        raise error
    return found


def tell(wrong: Mapping[str, Differences], rows: list[str]) -> None:
    """Print what was found."""
    if not wrong:
        typer.echo(f"same: {', '.join(rows)}")
        typer.echo(f"not verified, as they do not follow from what a row did: {', '.join(CLAIMED)}")
        return
    for row, pairs in wrong.items():
        if row == "versions":
            made, now = pairs[VERSION]
            typer.echo(f"another version: {VERSION} {made} made it, this is {now}")
            continue
        typer.echo(f"{row}: not the same, {len(pairs)} of its figures differ")
        for path, (old, new) in list(pairs.items())[:SHOWN]:
            typer.echo(f"  {path}: {_text(old)} in the file, {_text(new)} replayed")
        if len(pairs) > SHOWN:
            typer.echo(f"  ... and {len(pairs) - SHOWN} more (--json has them all)")


def _text(value: Any) -> str:
    text = json_format.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
