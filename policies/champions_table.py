"""The table of champions: all of them, and what they are compared with, on day, flash and drift, preset by preset.

python -m deeprec_env.policies.champions_table FOLDER [NAME ...]

A cell (a preset under one traffic) that is done is kept in the folder, as the JSON of `deeprec evaluate`; the same
command goes on with the others, and writes the table of all there are at the end. Capacities are of stationary traffic:
they are found beside the day alone.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.arguments import choice
from deeprec_env.envs.environments import SERVING_V2
from deeprec_env.errors import InputError
from deeprec_env.files import make_folder, replacing
from deeprec_env.policies.champions_markdown import scenario_table, table_over_all
from deeprec_env.policies.evaluation.champions import CHAMPIONS
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.policies.evaluation.serving import TRAFFICS
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.presets import TARGETS_MS
from deeprec_env.progress import Progress, Step, part
from deeprec_env.scenario.load import load_scenario

COMPARED = ("deeprecsched", "grid-day", "load-table", *CHAMPIONS, "rate-oracle")

NAMES = tuple(f"{model}{node}" for model in TARGETS_MS for node in ("", "-cpu"))
"""The presets that are measured here."""


def cell_path(folder: Path, name: str, traffic: str) -> Path:
    """Where a cell is kept."""
    return folder / f"{Path(name).stem}-{traffic}.json"


def measure_cell(name: str, traffic: str, seeds: int, options: TuneOptions, progress: Progress) -> dict[str, Any]:
    """A scenario under one traffic: the comparison as JSON."""
    evaluation = evaluation_of(SERVING_V2)
    if traffic != "day":
        evaluation = replace(evaluation, capacities=None)
    spec = replace(SERVING_V2, evaluation=evaluation)
    return compare(
        spec,
        load_scenario(name),
        COMPARED,
        seeds=seeds,
        options=options,
        choices={"traffic": traffic},
        progress=progress,
    ).to_json()


def table(folder: Path, names: list[str], traffics: list[str]) -> str:
    """All cells that are there: one table over the scenarios, then one for each of them."""
    found = {
        name: {
            traffic: json.loads(path.read_text(encoding="utf-8"))
            for traffic in traffics
            if (path := cell_path(folder, name, traffic)).exists()
        }
        for name in names
    }
    lines = ["### Over all", ""]
    lines += table_over_all({each: [cells[each] for cells in found.values() if each in cells] for each in traffics})
    for name, cells in found.items():
        if cells:
            lines += scenario_table(Path(name).stem, cells)
    return "\n".join(lines)


def write(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where it is not there.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Scenarios (default: all).")] = None,
    traffic: Annotated[list[str] | None, typer.Option(help="day, flash or drift (default: all).")] = None,
    seeds: Annotated[int, typer.Option(help="Test days.")] = 10,
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = 20_000,
) -> None:
    """Measure the cells that are not there yet, then write table.md."""
    traffics = [choice("traffic", each, tuple(TRAFFICS)) for each in traffic or TRAFFICS]
    make_folder("folder", folder)
    chosen = list(names or NAMES)
    options = TuneOptions(queries=queries)
    cells = [(name, each) for name in chosen for each in traffics]
    with console.telling("champions", quiet=False) as tell:
        for number, (name, each) in enumerate(cells):
            path = cell_path(folder, name, each)
            if path.exists():
                _check_same(path, seeds)
                continue
            told = part(tell, number / len(cells), (number + 1) / len(cells), f"{name}, {each}: ")
            told(Step("begins", 0.0))
            found = measure_cell(name, each, seeds, options, told)
            with replacing(path) as file:
                json.dump(found, file)
    with replacing(folder / "table.md") as file:
        file.write(table(folder, chosen, traffics))


def _check_same(path: Path, seeds: int) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))["seeds"]
    if kept != list(range(seeds)):
        raise InputError("seeds", seeds, f"must be the {len(kept)} of {path}, or another folder be given")


app = console.application("The table of champions.")
app.command()(write)


def main(arguments: list[str] | None = None) -> None:
    """`python -m deeprec_env.policies.champions_table`."""
    console.run(app, "deeprec_env.policies.champions_table", arguments)


if __name__ == "__main__":
    main()
