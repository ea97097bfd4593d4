"""`deeprec leaderboard`: verified evaluations as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.verify import differences_of_rows, rows_of, tell
from deeprec_env.progress import part


def leaderboard(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT.json...", help="What 'deeprec evaluate --json' printed.")
    ],
    output: Annotated[Path, typer.Option(help="The page: *.html, which needs no network, or *.md.")] = Path(
        "leaderboard.md"
    ),
) -> None:
    """Verify evaluations, and rank their rows. Exit status 1, and no page, if any row is not what its file says."""
    from deeprec_env.report.figures import read_known
    from deeprec_env.report.leaderboard import leaderboard_page
    from deeprec_env.report.report import check_output, write_page
    from deeprec_env.report.sources import read_sources

    check_output(output)
    read = [(path, before, rows_of(before)) for path in results if (before := read_known(path))]
    wrong, found = False, []
    with console.telling("leaderboard", quiet=False) as update:
        for place, (path, before, rows) in enumerate(read):
            of_file = part(update, place / len(read), (place + 1) / len(read), f"{path.name}: ")
            found.append(differences_of_rows(before, rows, of_file))
    for (path, _, rows), differs in zip(read, found, strict=True):
        if differs:
            wrong = True
            typer.echo(f"{path}:")
            tell(differs, rows)
    if wrong:
        raise typer.Exit(1)
    write_page(leaderboard_page(read_sources(results), drawn=output.suffix == ".html"), output)
    typer.echo(f"written: {output}; {sum(len(rows) for _, _, rows in read)} rows verified")
