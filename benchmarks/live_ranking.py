"""Eight batch sizes ranked by p95, by simulation and live: Spearman's correlation, beside that of repeats.

    python -m benchmarks.live_ranking FOLDER [--model wnd] [--workers 2] [--load 0.5] [--repeats 3] [--json]

The node is profiled and calibrated first (`live_node`). Every repeat runs the eight, in a random order, on arrivals of
its own, the same for all eight. Predicted is the median over twenty seeds of the service noise of p95 on the first
repeat's arrivals, by the profile measured before (blind) and as calibrated on the pilot runs.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.stats import spearmanr

from benchmarks.live_node import BATCH_SIZES, Json, Model, Seed, SlaMs, Workers, find_node, with_capacity
from deeprec_env import console
from deeprec_env.files import make_folder, replacing
from deeprec_env.live.recording import Recording, read_recording
from deeprec_env.live.replay import live_latency_s, replay_blind
from deeprec_env.live.run import LEAST_QUERIES, run_live
from deeprec_env.progress import Step, part
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import versions
from deeprec_env.simulation.summary import warmup_queries


def p95_s(recording: Recording) -> float:
    """Of a live run, without its warm-up."""
    latency_s = live_latency_s(recording)
    return float(np.percentile(latency_s[warmup_queries(len(latency_s)) :], 95))


def at(scenario: Scenario, batch_size: int, qps: float) -> Scenario:
    """The scenario with a batch size, at a rate."""
    control = scenario.control.model_copy(update={"batch_size": batch_size})
    arrivals = {"kind": "poisson", "qps": qps}
    return scenario.replace(
        control=control, workload={**scenario.workload.model_dump(), "arrivals": arrivals}, capacity=None
    )


def main(
    folder: Annotated[Path, typer.Argument(help="For profile, pilot runs and recordings: not measured again.")],
    model: Model = "wnd",
    workers: Workers = 2,
    load: Annotated[float, typer.Option(help="Of capacity, by simulation.")] = 0.5,
    repeats: Annotated[int, typer.Option(help="Live runs of each.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of traffic, each run (more where too few queries come).")] = 15.0,
    sla_ms: SlaMs = 25.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Rank batch sizes by p95, live and by simulation."""
    make_folder("folder", folder)
    with console.telling("live ranking", quiet=json) as tell:
        node = find_node(model, workers, sla_ms, folder, part(tell, 0.0, 0.1))
        capacity = with_capacity(node.calibrated, part(tell, 0.1, 0.12)).capacity
        assert capacity is not None
        qps = load * capacity.qps
        duration_s = max(seconds, 1.3 * LEAST_QUERIES / qps)
        rng = np.random.default_rng(seed)
        runs: dict[int, list[Recording]] = {batch_size: [] for batch_size in BATCH_SIZES}
        for repeat in range(repeats):
            for place, batch_size in enumerate(rng.permutation(BATCH_SIZES).tolist()):
                done = (repeat + place / len(BATCH_SIZES)) / repeats
                tell(Step(f"batch size {batch_size}, run {repeat + 1} of {repeats}", 0.12 + 0.88 * done))
                path = folder / f"ranking-{batch_size}-run{repeat + 1}.parquet"
                if not path.exists():
                    scenario = at(node.profiled, batch_size, qps)
                    run_live(scenario, duration_s=duration_s, seed=seed + repeat, split="test", record_to=path)
                runs[batch_size].append(read_recording(path))
        rows = []
        for batch_size, own in runs.items():
            predictions = {
                name: replay_blind(own[0], at(scenario, batch_size, qps)).predicted_s["p95"] * 1e3
                for name, scenario in (("blind", node.profiled), ("calibrated", node.calibrated))
            }
            rows.append({"batch_size": batch_size, "live_ms": [p95_s(run) * 1e3 for run in own], **predictions})
    payload = {"qps": qps, "rows": rows, **_correlations(rows), "versions": versions()}
    with replacing(folder / "ranking.json") as file:
        file.write(console.json_text(payload) + "\n")
    if json:
        console.print_json(payload)
        return
    console.print_table(
        f"p95 in ms at {qps:.0f} queries/s",
        ["batch size", "live, each run", "blind", "calibrated"],
        [
            [
                str(row["batch_size"]),
                ", ".join(f"{each:.4g}" for each in row["live_ms"]),
                f"{row['blind']:.4g}",
                f"{row['calibrated']:.4g}",
            ]
            for row in rows
        ],
    )
    console.print_facts({name: f"{value:.3f}" for name, value in _correlations(rows).items()})


def _correlations(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Spearman's, of predictions with the median of the live runs, and of live runs with each other (mean)."""
    live_ms = np.array([row["live_ms"] for row in rows])
    median_ms = np.median(live_ms, axis=1)
    found = {
        f"spearman_{name}": float(spearmanr([row[name] for row in rows], median_ms).statistic)
        for name in ("blind", "calibrated")
    }
    pairs = [spearmanr(a, b).statistic for a, b in combinations(live_ms.T, 2)]
    return found | {"spearman_repeats": float(np.mean(pairs)) if pairs else float("nan")}


app = console.application("Batch sizes ranked by p95.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.live_ranking")
