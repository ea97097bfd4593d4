"""`deeprec fleet`: what a fleet of machines shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.options import Cluster, Json, Seed, with_line
from deeprec_env.executors.executor import Threads, executor_of
from deeprec_env.files import replacing

app = console.application("Fleets of machines behind a router.")


@app.callback()
def root() -> None:
    """Fleets of machines behind a router."""


@app.command()
def paper(
    output: Annotated[Path, typer.Option(help="Folder of the table and its JSON; goes on with its CSV.")]
    = Path("runs/fleet-paper"),
    machines: Annotated[int, typer.Option(help="Machines, equally many of each of four kinds.")] = 200,
    seeds: Annotated[int, typer.Option(help="Test days, from the seed on.")] = 5,
    cluster: Cluster = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Test DeepRecSys's two claims about production. Days of a fleet under several ways to set its machines."""
    from deeprec_env.policies.fleet.claims import ALONE, METHODS, SUBSETS, FleetPaper

    executor = executor_of(cluster, Threads(1))
    run = FleetPaper(output, machines, seed, seeds)
    kept = f"days that are done are kept in {run.csv}; the same command goes on"
    with console.progress("fleet paper", run.steps, quiet=json, kept=kept) as update:
        run.run(update, executor=executor)
    payload = with_line(run.to_json())
    with replacing(output / "fleet.json") as file:
        file.write(console.json_text(payload) + "\n")
    if json:
        console.print_json(payload)
        return

    def gains(method: str) -> list[str]:
        found = [run.gain(method, name) for name in ("p95_s", "p99_s")]
        return [gain.with_interval(".3f") if gain else "-" for gain in found]

    cells = []
    for method in METHODS:
        found = payload["methods"][method]
        times_ms = [f"{found[f'{name}_ms']:.2f}" for name in ("p50", "p95", "p99")]
        cells.append([method, *times_ms, f"{found['violation_rate']:.2%}", *gains(method)])
    title = f"A day of {machines} machines, {seeds} days; times lower than static (published: p95 1.39, p99 1.31)"
    console.print_table(title, ("method", "p50 ms", "p95 ms", "p99 ms", "late", "p95 gain", "p99 gain"), cells)
    rows = [[kind, *gains(method)] for method, kind in ALONE.items()]
    title = "The same with the machines of one kind set as that kind needs it, all others static"
    console.print_table(title, ("kind", "p95 gain", "p99 gain"), rows)
    shown = [str(count) for count in SUBSETS if count <= machines]
    rows = [
        [method, *(f"{payload['methods'][method]['within_10_percent'][k]:.2f}" for k in shown)] for method in METHODS
    ]
    title = "Probability that so many machines at random have p50, p95 and p99 within 10 % of the fleet's"
    console.print_table(title, ("method", *shown), rows)
