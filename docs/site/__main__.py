"""`make docs`: python -m docs.site [--output FOLDER] [--quick]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from docs.site.build import build

app = console.application("Build the website.")


@app.command()
def main(
    output: Annotated[Path, typer.Option(help="Folder of the site; replaced.")] = Path("runs/site"),
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the environments' films.")] = False,
) -> None:
    """Build the website strictly: any warning, dead link or request elsewhere ends it with exit status 2."""
    with console.telling("site", quiet=False) as tell:
        pages = build(output, quick=quick, tell=tell)
    typer.echo(f"{pages} pages: {output / 'index.html'}")


if __name__ == "__main__":
    console.run(app, "python -m docs.site")
