"""`deeprec paper`."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.options import Cluster, Json, Pictures, Seed, with_line
from deeprec_env.executors.executor import executor_of
from deeprec_env.executors.processes import Processes
from deeprec_env.extras import can_plot
from deeprec_env.files import replacing
from deeprec_env.pictures import picture_kinds, picture_paths


def paper(
    output: Annotated[Path, typer.Option(help="Folder of the table, its JSON and its plot; goes on with its CSV.")]
    = Path("runs/paper"),
    models: Annotated[str | None, typer.Option(help="Models, comma-separated (default: all eight).")] = None,
    pictures: Pictures = None,
    cluster: Cluster = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Measure DeepRecSys's table of gains over static. All models, nodes, targets and methods."""
    from deeprec_env.policies.paper.gains import MODELS, PaperRun
    from deeprec_env.policies.paper.plot import write_plot
    from deeprec_env.policies.paper.table import gains, print_gains, to_json

    executor = executor_of(cluster, Processes())
    kinds, draws = picture_kinds(pictures), can_plot()
    run = PaperRun(output, MODELS if models is None else models.split(","), seed)
    kept = f"cells that are done are kept in {run.csv}; the same command goes on"
    with console.progress("paper", len(run.cells), quiet=json, kept=kept) as update:
        run.run(update, executor=executor)
    found = gains(run.rows)
    files = {"csv": run.csv, "json": output / "paper.json"}
    drawn = picture_paths(output, "paper", kinds) if draws else []
    files |= {path.suffix[1:]: path for path in drawn}
    payload = with_line(to_json(run.rows, found, files, run.question))
    with replacing(files["json"]) as file:
        json_text.dump(payload, file, indent=2, allow_nan=False)
        file.write("\n")
    if draws:
        write_plot(drawn, found)
    if json:
        console.print_json(payload)
    else:
        print_gains(found)
