"""`deeprec fidelity`: the simulator beside the real thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Seed, whole_numbers
from deeprec_env.extras import can_plot, check_installed
from deeprec_env.files import replacing
from deeprec_env.progress import part
from deeprec_env.simulation.header import SCHEMA_VERSION, versions


def fidelity(
    quick: Annotated[bool, typer.Option("--quick", help="A small matrix, in less than ten minutes.")] = False,
    output: Annotated[
        Path, typer.Option(help="Folder for profile, recordings, table and picture; what it holds is not run again.")
    ] = Path("runs/fidelity"),
    models: Annotated[str | None, typer.Option(help="Models, comma-separated (default: ncf, wnd, dlrm-rmc1).")] = None,
    workers: Annotated[str | None, typer.Option(help="Numbers of workers, comma-separated (default: 1, 2).")] = None,
    repeats: Annotated[int | None, typer.Option(help="Runs of every cell (default: 3).")] = None,
    rows_scale: Annotated[float | None, typer.Option(help="Rows of the tables, of the published ones.")] = None,
    shipped: Annotated[str, typer.Option(help="Profile of the prediction without any measurement.")] = "amd-epyc-milan",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Measure live runs beside their predictions. Models x workers x loads x batch sizes, with repeats.

    By replay (recorded service times), blind (the profile measured minutes before, and a shipped one) and calibrated on
    the node's other runs, each beside the noise floor: how far a run is from its repeat.
    """
    check_installed("torch")
    check_installed("pyarrow")
    from deeprec_env.arguments import whole
    from deeprec_env.live.fidelity import QUICK, Matrix, check_profile, measure, rows_of, summary
    from deeprec_env.live.predictors import predictors

    matrix = replace(QUICK if quick else Matrix(), seed=seed)
    if models is not None:
        matrix = replace(matrix, models=tuple(name for name in models.split(",") if name))
    if workers is not None:
        matrix = replace(matrix, workers=whole_numbers("workers", workers))
    if repeats is not None:
        matrix = replace(matrix, repeats=whole("repeats", repeats, 1, 100))
    if rows_scale is not None:
        matrix = replace(matrix, rows_scale=rows_scale)
    check_profile(shipped, matrix.models)
    kept = f"{output} holds the runs so far; the same command goes on"
    with console.telling("fidelity", quiet=json, kept=kept) as tell:
        runs = measure(matrix, output, part(tell, 0.0, 0.9))
        rows = list(rows_of(runs, predictors(shipped), part(tell, 0.9, 1.0)))
    payload: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "rows": [row.to_json() for row in rows],
        "summary": summary(rows),
        "versions": versions(),
    }
    with replacing(output / "fidelity.json") as file:
        file.write(console.json_text(payload) + "\n")
    if can_plot():
        from deeprec_env.live.fidelity_picture import draw_fidelity

        draw_fidelity(output / "fidelity.png", rows, footnote="deeprec fidelity" + (" --quick" if quick else ""))
    if json:
        console.print_json(payload)
        return
    names = list(rows[0].predicted)
    console.print_table(
        "p95 of the live node, and how far predictions are from it",
        ["node", "load", "p95 ms", "noise floor", "replay", *names],
        [
            [
                f"{row['model']}, {row['workers']} x, batch {row['batch_size']}",
                f"{row['load']:g}",
                f"{row['measured_p95_ms']:.4g}",
                f"{100 * row['noise_floor']:.1f} %",
                f"{100 * row['replay_error']:+.2f} %",
                *(f"{100 * row[f'{name}_error']:+.1f} %" for name in names),
            ]
            for row in payload["rows"]
        ],
    )
    console.print_facts(payload["summary"])
