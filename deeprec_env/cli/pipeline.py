"""`deeprec pipeline`: RecPipe's pipelines and its accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Seed
from deeprec_env.files import check_writable
from deeprec_env.simulation.header import SCHEMA_VERSION

app = console.application("Pipelines of several models in series (RecPipe).")


@app.command()
def replay(
    runs: Annotated[Path, typer.Argument(metavar="RUNS.csv", help="Logged runs, in the form of RecPipe's artifact.")],
    service: Annotated[str, typer.Option(help="Service times: own (each run's log) or fit (affine fits).")] = "own",
    output: Annotated[Path | None, typer.Option(help="Write every run's prediction to this CSV file.")] = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Predict logged runs and compare their times, mean and p95. On CPU and GPU or on the accelerator."""
    from deeprec_env.recpipe.replay.predict import buckets, write_predictions
    from deeprec_env.recpipe.replay.predict import replay as predict
    from deeprec_env.recpipe.replay.runs import read_runs

    if output is not None:
        check_writable("output", output)
    logged = read_runs(runs)
    with console.progress("replay", len(logged), quiet=json) as update:
        predictions = predict(logged, service, seed=seed, progress=lambda done: update("replay", done))
    if output is not None:
        write_predictions(predictions, output)
    found = buckets(predictions)
    if json:
        payload = {"schema_version": SCHEMA_VERSION, "service": service, "runs": len(logged), "buckets": found}
        console.print_json(payload)
        return
    rows = [
        [bucket["utilisation"], str(bucket["runs"]), _percent(bucket, "mean"), _percent(bucket, "p95")]
        for bucket in found
    ]
    columns = ("utilisation", "runs", "error of mean %", "error of p95 %")
    console.print_table("median absolute errors of the predicted total times", columns, rows)


def _percent(bucket: dict[str, Any], what: str) -> str:
    error = bucket[f"{what}_error_median"]
    return "-" if error is None else f"{100 * error:.2f}"


@app.command()
def rpaccel(
    items: Annotated[int, typer.Option(help="Items of a query.")] = 4096,
    fidelity: Annotated[str, typer.Option(help="artifact (as published) or corrected.")] = "artifact",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Latency and energy of a query on RPAccel. For every model and unit size, and what each mend would change."""
    from deeprec_env.latency.rpaccel import NETWORKS, UNITS, UnitStage, mends_s, rpaccel_latency_s
    from deeprec_env.recpipe.chip.energy import energy_j

    found: list[dict[str, Any]] = []
    for model in NETWORKS:
        for unit in UNITS:
            latency_s = rpaccel_latency_s(model, items, unit, fidelity)
            split = UnitStage.of(model, unit, fidelity).split_s(items)
            found.append(
                {
                    "model": model,
                    "unit": unit,
                    "latency_us": latency_s * 1e6,
                    "energy_uj": energy_j([(latency_s, unit)]) * 1e6,
                    "components_us": {name: seconds * 1e6 for name, seconds in split.items()},
                    "mends_us": {name: seconds * 1e6 for name, seconds in mends_s(model, items, unit).items()},
                }
            )
    if json:
        payload = {"schema_version": SCHEMA_VERSION, "items": items, "fidelity": fidelity, "stages": found}
        console.print_json(payload)
        return
    for title, part in ((f"components, {fidelity}", "components_us"), ("mends of the published model", "mends_us")):
        columns = ("model", "unit", "total", "energy uJ", *found[0][part])
        rows = [
            [stage["model"], f"1/{stage['unit']}", f"{stage['latency_us']:.1f}", f"{stage['energy_uj']:.1f}"]
            + [f"{value:.1f}" for value in stage[part].values()]
            for stage in found
        ]
        console.print_table(f"{items} items, microseconds: {title}", columns, rows)


@app.command()
def cache(
    policy: Annotated[str, typer.Option(help="fifo (what the original does) or lru.")] = "fifo",
    samples: Annotated[int, typer.Option(help="Items of the synthetic trace, five look-ups each.")] = 400_000,
    compare: Annotated[
        Path | None, typer.Option(help="Published points to compare with (embedding_cache.csv).")
    ] = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Split an embedding cache between two stages. Gives the best share of the first by filter and size."""
    from deeprec_env.recpipe.chip.cache_sweep import (
        RATIOS,
        SHARES,
        SIZES_MIB,
        agreement,
        best_shares,
        read_points,
        sweep,
    )

    published = read_points(compare) if compare is not None else []
    with console.progress("cache", len(RATIOS) * len(SIZES_MIB) * len(SHARES), quiet=json) as update:
        points = sweep(samples, policy, seed=seed, progress=lambda done: update("cache", done))
    best = best_shares(points)
    agreed = agreement(points, published) if published else {}
    if json:
        rows = [{"filter": ratio, "mib": mib, "share": share} for (ratio, mib), share in best.items()]
        console.print_json(
            {"schema_version": SCHEMA_VERSION, "policy": policy, "best_shares": rows, "agreement": agreed}
        )
        return
    console.print_table(
        "best share of stage 1, by bytes from the cache",
        ("filter", *(f"{mib} MiB" for mib in SIZES_MIB)),
        [[f"{ratio:g}", *(f"{best[ratio, mib]:g}" for mib in SIZES_MIB)] for ratio in RATIOS],
    )
    for name, figures in agreed.items():
        console.print_facts({f"hit rate, {name}": figures})
