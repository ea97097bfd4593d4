"""`deeprec pipeline figure` and `deeprec pipeline headlines`: the RecPipe paper from the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Pictures, Seed, print_result
from deeprec_env.pictures import picture_kinds
from deeprec_env.provenance import ask, asked
from deeprec_env.simulation.header import SCHEMA_VERSION, versions


def figure(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="2, 3, 7, 8, 10a, 10c, 11, 12, 13 or 14.")],
    output: Annotated[Path, typer.Option(help="Folder for figureNUMBER.csv and .png.")] = Path("runs/figures"),
    pictures: Pictures = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Make one of the RecPipe paper's figures. Its data and its picture, what was published beside it."""
    from deeprec_env.recpipe.figures.lines import FigureFiles
    from deeprec_env.recpipe.figures.registry import write_figure

    kinds = picture_kinds(pictures)
    with console.progress(f"figure {number}", None, quiet=json):
        rows = write_figure(number, output, seed, kinds)
    payload = figure_json(number, seed, rows, FigureFiles.of(output, number, kinds).all)
    if not json:
        del payload["data"], payload["versions"]
    print_result(payload, json)


def figure_json(number: str, seed: int, rows: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> dict[str, Any]:
    """What the command answers, of a figure's table."""
    question = ask("pipeline figure", None, seed=seed, split="train", engine="compiled", number=number)
    facts = {"figure": number, "rows": len(rows), "files": [str(path) for path in files], "data": list(rows)}
    return {"schema_version": SCHEMA_VERSION, **facts, **asked(question), "versions": versions()}


def headlines(
    quick: Annotated[
        bool, typer.Option("--quick", help="The artifact's experiments only, no Poisson arrivals.")
    ] = False,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Compare two stages with one, beside what RecPipe published. p95 at equal rates and the rate at equal p95."""
    from deeprec_env.recpipe.figures.headlines import PARTS
    from deeprec_env.recpipe.figures.headlines import headlines as find

    with console.progress("headlines", PARTS, quiet=json) as update:
        rows = find(seed, poisson=not quick, progress=update)
    if json:
        print_result(headlines_json(rows, seed, quick), json)
        return
    texts = [
        [row["headline"], row["arrivals"], row["model"]]
        + ["-" if row[key] is None else f"{row[key]:.4g}" for key in ("one_stage", "two_stages", "ratio", "published")]
        for row in rows
    ]
    columns = ("headline", "arrivals", "model", "one stage", "two stages", "ratio", "published ratio")
    console.print_table("two stages against one", columns, texts)


def headlines_json(rows: Sequence[Mapping[str, Any]], seed: int, quick: bool) -> dict[str, Any]:
    """What the command answers, of its rows."""
    question = ask("pipeline headlines", None, seed=seed, split="train", engine="compiled", quick=quick)
    return {"schema_version": SCHEMA_VERSION, "headlines": list(rows), **asked(question), "versions": versions()}
