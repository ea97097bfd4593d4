"""`deeprec controls`."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.options import Cluster, Json, Seed, real_numbers, with_line
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Threads, executor_of
from deeprec_env.files import check_writable, replacing
from deeprec_env.scenario.load import load_scenario


def controls(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO]...", help="Presets or YAML files (default: thirteen with an accelerator)."),
    ] = None,
    loads: Annotated[
        str | None, typer.Option(help="Rates in capacities, comma-separated (default: 0.5 to 1.5).")
    ] = None,
    queries: Annotated[int | None, typer.Option(help="Arrivals of a run (default: 30000).")] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of a cell, paired by seed (default: 6).")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the table and its JSON; goes on with its CSV.")]
    = Path("runs/controls"),
    cluster: Cluster = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Measure what each further control is worth."""
    from deeprec_env.analysis.controls import LOADS, QUERIES, SCENARIOS, SEEDS, ControlsRun
    from deeprec_env.cli.controls_table import lines, print_lines, to_json

    named: dict[str, str] = {}
    for given in scenarios or SCENARIOS:
        name = Path(given).stem
        if name in named:
            raise InputError("scenario", given, f"must have a name of its own beside {named[name]}")
        named[name] = given
    run = ControlsRun(
        output,
        {name: load_scenario(given) for name, given in named.items()},
        loads=LOADS if loads is None else real_numbers("loads", loads),
        queries=QUERIES if queries is None else queries,
        seed=seed,
        seeds=SEEDS if seeds is None else seeds,
    )
    files = {"csv": run.csv, "json": output / "controls.json"}
    check_writable("output", files["json"])
    kept = f"cells that are done are kept in {run.csv}; the same command goes on"
    with console.progress("controls", len(run.cells), quiet=json, kept=kept) as update:
        run.run(update, executor=executor_of(cluster, Threads()))
    found = lines(run.rows)
    payload = with_line(to_json(run, found, files))
    with replacing(files["json"]) as file:
        json_text.dump(payload, file, indent=2, allow_nan=False)
        file.write("\n")
    if json:
        console.print_json(payload)
    else:
        print_lines(run, found)
