"""`deeprec pipeline sweep` and `deeprec pipeline schedule`: searching a space of pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Cluster, Json, Pictures, Seed, print_result
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import executor_of
from deeprec_env.extras import can_plot, check_installed
from deeprec_env.pictures import picture_kinds
from deeprec_env.provenance import Question, ask, asked

if TYPE_CHECKING:
    from deeprec_env.recpipe.design_space.schedule import Nearest, Schedule
    from deeprec_env.recpipe.design_space.space import SpaceConfig

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file: grids of pipelines, rates and target.")]
Queries = Annotated[int | None, typer.Option(help="Queries of a cell, a pipeline at a rate (default: the file's).")]
Workers = Annotated[int | None, typer.Option(help="Threads (default: one a core).")]

GRID, OPTUNA = "grid", "optuna"
TRIALS = 200


def sweep(
    config: Config,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results (default: runs/sweep/CONFIG); it goes on with its table.")
    ] = None,
    queries: Queries = None,
    floor: Annotated[float | None, typer.Option(help="Quality that will do, drawn in the pictures.")] = None,
    pictures: Pictures = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write the table as Parquet, too.")] = False,
    sampler: Annotated[str, typer.Option(help="grid (every pipeline) or optuna (--trials of them).")] = GRID,
    trials: Annotated[int | None, typer.Option(help=f"Pipelines that Optuna tries (default: {TRIALS}).")] = None,
    objective: Annotated[
        str | None, typer.Option(help="Beside quality, for Optuna: p95 (at --qps; the default) or qps.")
    ] = None,
    qps: Annotated[
        float | None, typer.Option(help="Rate of the objective p95, one of the file's (its middle).")
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Run every pipeline of a space at every rate. Gives a table, pictures and the fronts of quality and p95."""
    from deeprec_env.recpipe.design_space.pictures import Asked, write_pictures
    from deeprec_env.recpipe.design_space.sweep import report, threads, write_parquet
    from deeprec_env.recpipe.design_space.sweep import sweep as run

    space_config = _loaded(config, queries)
    if floor is not None and not 0.0 <= floor <= 1.0:
        raise InputError("floor", floor, "must be between 0 and 1")
    folder = output or Path("runs/sweep") / config.stem
    if cluster is not None and (workers is not None or sampler == OPTUNA):
        with_it = "--workers" if workers is not None else "--sampler optuna"
        raise InputError("cluster", cluster, f"must be left out with {with_it}: the work is done here")
    executor = executor_of(cluster, threads(workers))
    kinds = picture_kinds(pictures)
    for module, wanted in (("pyarrow", parquet), ("optuna", sampler == OPTUNA)):
        if wanted:
            check_installed(module)
    draws = can_plot()
    payload: dict[str, Any]
    kept = f"cells that are done are kept in {folder / 'cells.csv'}; the same command goes on"
    if sampler == OPTUNA:
        from deeprec_env.recpipe.design_space.search import search

        tried = TRIALS if trials is None else trials
        with console.progress(config.stem, tried, quiet=json, kept=kept) as update:
            found = search(
                space_config, folder, trials=tried, objective=objective or "p95", qps=qps, seed=seed, progress=update
            )
        cells, payload = found.cells, found.to_json()
        chosen = {"trials": tried, "objective": objective or "p95", "qps": qps}
        question = _question("pipeline sweep --sampler optuna", space_config, seed, **chosen)
    elif sampler == GRID:
        from deeprec_env.recpipe.design_space.space import space_of

        for option, value in (("trials", trials), ("objective", objective), ("qps", qps)):
            if value is not None:
                raise InputError(option, value, "needs --sampler optuna")
        space = space_of(space_config)
        cells_in_all = len(space.candidates) * len(space_config.qps)
        with console.progress(config.stem, cells_in_all, quiet=json, kept=kept) as update:
            cells = run(space, folder, seed=seed, executor=executor, progress=update)
        payload, question = report(space, cells), _question("pipeline sweep", space_config, seed)
    else:
        raise InputError("sampler", sampler, f"must be one of {GRID}, {OPTUNA}")
    paths = [folder / "cells.csv"]
    if parquet:
        paths.append(write_parquet(cells, folder / "cells.parquet"))
    if cells and draws:
        paths += write_pictures(cells, folder, Asked.of(config.stem, space_config, floor), kinds)
    payload |= {"files": [str(path) for path in paths]} | asked(question)
    if json:
        print_result(payload, json)
        return
    print_result({key: value for key, value in payload.items() if key not in ("fronts", "front", "versions")}, json)
    for each in payload.get("fronts", [payload]):
        title = f"front of quality and p95 at {each['qps']:g} queries/s" if "qps" in each else "front"
        _print_cells(title, each["front"])


def schedule(
    config: Config,
    quality: Annotated[float, typer.Option(help="Lowest quality that will do.")],
    qps: Annotated[float, typer.Option(help="Rate in queries a second.")],
    sla_ms: Annotated[float | None, typer.Option(help="Target of p95 (default: the file's).")] = None,
    objective: Annotated[str, typer.Option(help="p95 (the lowest at the rate) or capacity (the highest).")] = "p95",
    top: Annotated[int, typer.Option(help="How many of the best to show.")] = 5,
    queries: Queries = None,
    workers: Workers = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Find the best pipeline of a space, and its runner-ups. For a quality, a rate and a target."""
    from deeprec_env.recpipe.design_space.schedule import schedule as find
    from deeprec_env.recpipe.design_space.space import space_of

    space = space_of(_loaded(config, queries, sla_ms))
    with console.telling("schedule", quiet=json) as tell:
        found = find(
            space,
            quality=quality,
            qps=qps,
            objective=objective,
            top=top,
            seed=seed,
            workers=workers,
            progress=lambda what, done: tell(what),
        )
    asked_for = {"quality": quality, "qps": qps, "objective": objective, "top": top}
    facts = found.to_json() | asked(_question("pipeline schedule", space.config, seed, **asked_for))
    if json:
        print_result(facts, json)
        return
    rows = facts.pop("best")
    facts.pop("versions")
    facts.pop("nearest")
    print_result(facts, json)
    if found.nearest is not None:
        typer.echo(f"no pipeline will do; the nearest: {_nearest(found.nearest, found)}")
    _print_cells(f"best by {objective}", rows)


def _nearest(nearest: Nearest, found: Schedule) -> str:
    """What comes nearest, and what it has beside what is asked for."""
    if nearest.lacks == "quality":
        return f"{nearest.pipeline} has a quality of {nearest.quality:.5g}, asked for {found.quality:g}"
    if nearest.lacks == "qps":
        return f"{nearest.pipeline} keeps up with {nearest.highest_qps:.5g} queries/s, asked for {found.qps:g}"
    tail = f"a p95 of {nearest.p95_ms:.5g} ms and a p99 of {nearest.p99_ms:.5g} ms"
    return f"{nearest.pipeline} has {tail}, asked for a p95 of {found.sla_ms:g} ms"


def _question(command: str, config: SpaceConfig, seed: int, **arguments: Any) -> Question:
    return ask(
        command,
        None,
        seed=seed,
        split="train",
        engine="compiled",
        quality_table=config.quality.table if config.quality else None,
        config=config.model_dump(mode="json"),
        **arguments,
    )


def _loaded(path: Path, queries: int | None, sla_ms: float | None = None) -> Any:
    from deeprec_env.recpipe.design_space.space import load_space

    loaded = load_space(path)
    changes = {name: value for name, value in (("queries", queries), ("sla_ms", sla_ms)) if value is not None}
    return load_space(loaded.model_dump() | changes) if changes else loaded


def _print_cells(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = list(rows[0])
    console.print_table(title, columns, [[_text(row[column]) for column in columns] for row in rows])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        return "[" + ", ".join(_text(each) for each in value) + "]"
    return "-" if value is None else str(value)
