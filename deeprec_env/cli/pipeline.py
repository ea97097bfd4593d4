"""`deeprec pipeline`: RecPipe's pipelines and its accelerator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Seed, print_result
from deeprec_env.files import check_writable
from deeprec_env.provenance import ask, asked
from deeprec_env.simulation.header import SCHEMA_VERSION, versions

if TYPE_CHECKING:
    from deeprec_env.recpipe.replay.predict import Prediction

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
    from deeprec_env.recpipe.replay.predict import replay as predict
    from deeprec_env.recpipe.replay.predict import write_predictions
    from deeprec_env.recpipe.replay.runs import read_runs

    if output is not None:
        check_writable("output", output)
    logged = read_runs(runs)
    with console.progress("replay", len(logged), quiet=json) as update:
        predictions = predict(logged, service, seed=seed, progress=lambda done: update("replay", done))
    if output is not None:
        write_predictions(predictions, output)
    payload = replay_json(runs, service, seed, predictions)
    found = payload["buckets"]
    if json:
        print_result(payload, json)
        return
    rows = [
        [bucket["utilisation"], str(bucket["runs"]), _percent(bucket, "mean"), _percent(bucket, "p95")]
        for bucket in found
    ]
    columns = ("utilisation", "runs", "error of mean %", "error of p95 %")
    console.print_table("median absolute errors of the predicted total times", columns, rows)


def replay_json(runs: Path, service: str, seed: int, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What the command answers, of the predictions of all runs of a file."""
    from deeprec_env.recpipe.replay.predict import buckets

    facts = {"service": service, "runs": len(predictions), "buckets": buckets(predictions)}
    named = {"runs": str(runs.resolve()), "service": service}
    question = ask("pipeline replay", None, seed=seed, split="", engine="", paths=[runs], **named)
    return {"schema_version": SCHEMA_VERSION, **facts, **asked(question), "versions": versions()}


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
    payload = rpaccel_json(items, fidelity, seed)
    found = payload["stages"]
    if json:
        print_result(payload, json)
        return
    for title, part in ((f"components, {fidelity}", "components_us"), ("mends of the published model", "mends_us")):
        columns = ("model", "unit", "total", "energy uJ", *found[0][part])
        rows = [
            [stage["model"], f"1/{stage['unit']}", f"{stage['latency_us']:.1f}", f"{stage['energy_uj']:.1f}"]
            + [f"{value:.1f}" for value in stage[part].values()]
            for stage in found
        ]
        console.print_table(f"{items} items, microseconds: {title}", columns, rows)


def rpaccel_json(items: int, fidelity: str, seed: int) -> dict[str, Any]:
    """What the command answers."""
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
    facts = {"items": items, "fidelity": fidelity, "stages": found}
    question = ask("pipeline rpaccel", None, seed=seed, split="", engine="", items=items, fidelity=fidelity)
    return {"schema_version": SCHEMA_VERSION, **facts, **asked(question), "versions": versions()}


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
    from deeprec_env.recpipe.chip.cache_sweep import RATIOS, SHARES, SIZES_MIB

    with console.progress("cache", len(RATIOS) * len(SIZES_MIB) * len(SHARES), quiet=json) as update:
        payload = cache_json(policy, samples, compare, seed, lambda done: update("cache", done))
    if json:
        print_result(payload, json)
        return
    best = {(row["filter"], row["mib"]): row["share"] for row in payload["best_shares"]}
    console.print_table(
        "best share of stage 1, by bytes from the cache",
        ("filter", *(f"{mib} MiB" for mib in SIZES_MIB)),
        [[f"{ratio:g}", *(f"{best[ratio, mib]:g}" for mib in SIZES_MIB)] for ratio in RATIOS],
    )
    for name, figures in payload["agreement"].items():
        console.print_facts({f"hit rate, {name}": figures})


def cache_json(
    policy: str, samples: int, compare: Path | None, seed: int, progress: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """What the command answers."""
    from deeprec_env.recpipe.chip.cache_sweep import agreement, best_shares, read_points, sweep

    published = read_points(compare) if compare is not None else []
    points = sweep(samples, policy, seed=seed, progress=progress)
    best = [{"filter": ratio, "mib": mib, "share": share} for (ratio, mib), share in best_shares(points).items()]
    facts = {"policy": policy, "best_shares": best, "agreement": agreement(points, published) if published else {}}
    question = ask(
        "pipeline cache",
        None,
        seed=seed,
        split="",
        engine="",
        paths=[] if compare is None else [compare],
        policy=policy,
        samples=samples,
        compare=None if compare is None else str(compare.resolve()),
    )
    return {"schema_version": SCHEMA_VERSION, **facts, **asked(question), "versions": versions()}
