"""`deeprec profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from deeprec_env import console
from deeprec_env.commands.options import Json, Seed, print_result, whole_numbers
from deeprec_env.errors import InputError
from deeprec_env.simulation.simulate import SCHEMA_VERSION


def profile(
    models: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, or all.")],
    output: Annotated[Path, typer.Option(help="CSV file; models it holds already are not measured again.")] = Path(
        "profile.csv"
    ),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batches: Annotated[str | None, typer.Option(help="Batch sizes, comma-separated.")] = None,
    threads: Annotated[int, typer.Option(help="torch threads.")] = 1,
    index_distribution: Annotated[str, typer.Option(help="Embedding indices: uniform or zipf.")] = "uniform",
    rows_scale: Annotated[float, typer.Option(help="Fraction of the embedding rows.")] = 1.0,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Measure models into a profile. Interrupted, it goes on where it was when called again."""
    from deeprec_env.models import MODELS
    from deeprec_env.profiling import BATCHES, ProfileSettings, profile_models

    settings = ProfileSettings(
        models=tuple(MODELS) if models == "all" else (models,),
        device=device,
        batches=whole_numbers("batches", batches) if batches else BATCHES,
        threads=threads,
        index_distribution=_index_distribution(index_distribution),
        rows_scale=rows_scale,
        seed=seed,
    )
    steps = len(settings.models) * len(settings.batches) * settings.effort.passes
    with console.progress("profile", steps, quiet=json) as update:
        table = profile_models(settings, output, lambda model: update(model, 1))
    payload = {"schema_version": SCHEMA_VERSION, "output": str(output), "models": table.models(), **table.header}
    print_result(payload, json)


def _index_distribution(text: str) -> Literal["uniform", "zipf"]:
    if text == "uniform":
        return "uniform"
    if text == "zipf":
        return "zipf"
    raise InputError("index_distribution", text, "must be uniform or zipf")
