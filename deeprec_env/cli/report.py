"""`deeprec report`: results as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    what: Annotated[
        list[Path],
        typer.Argument(
            metavar="WHAT...",
            help="Results' JSON of one kind (simulate, evaluate, capacity, tune, pipeline sweep), the records of a run "
            "after its JSON, or folders of trainings.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The page: *.html, which needs no network, or *.md.")] = Path(
        "report.html"
    ),
) -> None:
    """Write one page from results. It holds the scenario in words, figures with intervals, plots, and the commands."""
    from deeprec_env.report.report import write_report

    write_report(what, output)
    typer.echo(f"written: {output}")
