"""`deeprec quality`: train the models of pipelines on click data, and measure pipelines of them into a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Seed, print_result, whole_numbers
from deeprec_env.errors import InputError
from deeprec_env.files import check_writable
from deeprec_env.provenance import Question, ask, asked
from deeprec_env.simulation.header import SCHEMA_VERSION

group = console.application("Recommendation quality of pipelines. It comes from models trained on click data.")

Threads = Annotated[int, typer.Option(help="torch threads.")]


@group.command()
def train(
    data: Annotated[str, typer.Option(help="synthetic, criteo-kaggle, criteo-terabyte, movielens-1m or movielens-20m.")]
    = "synthetic",
    path: Annotated[Path | None, typer.Option(help="The data's file (Terabyte: or a folder of day_0, ...).")] = None,
    model: Annotated[str, typer.Option(help="A model's name (dim_4, neumf_small, ...), or all of the data's.")] = "all",
    epochs: Annotated[int | None, typer.Option(help="Passes over the data (default: the data's recipe).")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate of all weights (default: the recipe's).")] = None,
    lines: Annotated[int | None, typer.Option(help="Most lines of a Criteo log to read (default: all).")] = None,
    max_rows: Annotated[int | None, typer.Option(help="Hash Criteo's larger tables into this many rows.")] = None,
    max_malformed: Annotated[int, typer.Option(help="Malformed lines to skip before giving up.")] = 100,
    weights: Annotated[Path | None, typer.Option(help="Start from a checkpoint of the public DLRM code.")] = None,
    queries: Annotated[int, typer.Option(help="Queries of the test.")] = 128,
    threads: Threads = 1,
    output: Annotated[Path, typer.Option(help="Folder of the trained models.")] = Path("runs/quality"),
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Train models. Interrupted, it goes on when called again; a model that is done is not trained again."""
    from deeprec_env.quality.sources import Source

    source = Source(data, None if path is None else str(path), lines, max_rows, max_malformed, seed)
    training = _torch_module()
    recipe = training.with_epochs(source.kind.recipe, epochs)
    settings = training.TrainSettings(
        source=source,
        models=source.kind.models if model == "all" else (model.replace("-", "_"),),
        recipe=recipe if rate is None else replace(recipe, rate=rate, embedding_rate=rate),
        seed=seed,
        weights=None if weights is None else str(weights),
        threads=threads,
        queries=queries,
    )
    kept = f"epochs that are done are kept in {output}; the same command goes on"
    with console.progress("train", None, quiet=json, kept=kept) as update:
        trained = training.train(settings, output, update)
    if json:
        options = {"data": data, "path": path and str(path.resolve()), "models": list(settings.models), "lines": lines}
        options |= {"recipe": vars(settings.recipe), "max_rows": max_rows, "weights": settings.weights}
        why = "it trained models, whose weights differ in their last digits from machine to machine"
        question = _question("quality train", seed, why, options | {"queries": queries, "threads": threads})
        payload = {"schema_version": SCHEMA_VERSION, "data": data, "output": str(output), **trained}
        print_result(payload | asked(question), json)
        return
    columns = ("auc", "log_loss", "error", "ndcg@64", "hit_rate@4")
    rows = [[name, *(_digits(result[column]) for column in columns)] for name, result in trained["models"].items()]
    console.print_table(f"{data}, models in {output}", ["model", *columns], rows)
    if trained.get("skipped_lines"):
        where = ", ".join(trained["first_skipped"])
        typer.echo(f"skipped {trained['skipped_lines']} malformed lines: {where}", err=True)


@group.command()
def table(
    checkpoints: Annotated[Path, typer.Option(help="Folder that 'quality train' filled.")] = Path("runs/quality"),
    output: Annotated[Path, typer.Option(help="CSV file.")] = Path("quality.csv"),
    pipelines: Annotated[str | None, typer.Option(help="Comma-separated, such as dim_4@4096-dim_32@512.")] = None,
    stages: Annotated[int, typer.Option(help="Most stages of the grid's pipelines.")] = 3,
    items: Annotated[str | None, typer.Option(help="Items of the grid's first stage, comma-separated.")] = None,
    keep: Annotated[str, typer.Option(help="Items of the grid's later stages.")] = "2048,1024,512,256,128",
    queries: Annotated[int, typer.Option(help="Queries, the same for all pipelines.")] = 128,
    threads: Threads = 1,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Measure pipelines of trained models into a quality table. All those of a grid."""
    from deeprec_env.quality.data import check_queries
    from deeprec_env.quality.pipelines import Pipeline, check_trained, grid
    from deeprec_env.quality.table import quality_rows, write_table

    check_writable("output", output)
    firsts = None if items is None else whole_numbers("items", items)
    later = whole_numbers("keep", keep)
    for field, value in (("stages", stages), ("queries", queries)):
        if value < 1:
            raise InputError(field, value, "must be at least 1")
    if pipelines is not None:
        chosen = [Pipeline.parse(name) for name in pipelines.split(",")]
    training = _torch_module()
    source, trained = training.trained_models(checkpoints)
    if pipelines is None:
        chosen = list(grid(trained, firsts or source.kind.items, later, stages))
    for pipeline in chosen:
        check_trained(pipeline, trained)
    check_queries(queries, max(pipeline.items[0] for pipeline in chosen))
    with console.progress("table", None, quiet=json) as update:
        _, data, scores = training.load_scores(checkpoints, threads, update)
        rows = quality_rows(data, scores, chosen, queries=queries, seed=seed, progress=update)
    write_table(output, rows)
    if json:
        folder = str(checkpoints.resolve())
        options = {"checkpoints": folder, "pipelines": [each.name for each in chosen], "queries": queries}
        question = _question("quality table", seed, f"it needs the trained models in {folder}", options)
        payload = {"schema_version": SCHEMA_VERSION, "output": str(output), "pipelines": rows}
        print_result(payload | asked(question), json)
        return
    columns = ("ndcg@64", "ndcg@64_ci", "difference", "difference_ci", "hit_rate@4", "error")
    shown = [[str(row["pipeline"]), *(_digits(row[column]) for column in columns)] for row in rows]
    console.print_table(f"{source.name}, {rows[0]['queries']} queries, {output}", ["pipeline", *columns], shown)


def _question(command: str, seed: int, why: str, options: Mapping[str, Any]) -> Question:
    covers = ("quality",)
    return ask(command, None, seed=seed, split="", engine="", sources=covers, unrepeatable=why, **options)


def _torch_module() -> Any:
    from deeprec_env.quality import training

    return training


def _digits(value: float | int | str) -> str:
    return f"{value:.5f}" if isinstance(value, float) else str(value)
