"""Predicting logged runs: the pipeline as FCFS pools in series, fed with the arrivals of the run itself."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.files import replacing
from deeprec_env.recpipe.replay.harness import Sweeps, process, send
from deeprec_env.recpipe.replay.runs import Run
from deeprec_env.recpipe.replay.service_times import CONTENTION, CPU_ENGINES
from deeprec_env.recpipe.replay.services import SERVICES, Service, Times, engine_s, times
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.simulate import run as simulate_traffic
from deeprec_env.workload.stream import Traffic

BUCKETS = (("0-0.5", 0.5), ("0.5-0.8", 0.8), ("0.8-0.95", 0.95), ("0.95-1.05", 1.05), (">1.05", np.inf))
"""Labels and upper ends of the utilisations that runs are put together by; an end belongs to the bucket above it."""

OUTPUT_COLUMNS = (
    "line", "models", "items", "devices", "engines", "gap_ms", "achieved_qps", "utilisation", "mean_s", "p95_s",
    "logged_mean_s", "logged_p95_s", "mean_error", "p95_error",
)  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """Mean and p95 of a run's total times as predicted, in seconds, and the utilisation of its busiest pool."""

    run: Run
    mean_s: float
    p95_s: float
    utilisation: float

    @property
    def mean_error(self) -> float:
        """Relative, with its sign."""
        return self.mean_s / self.run.total_mean_s - 1.0

    @property
    def p95_error(self) -> float:
        """Relative, with its sign."""
        return self.p95_s / self.run.total_p95_s - 1.0


def replay(
    runs: Sequence[Run], service: str = "own", *, seed: int = 0, progress: Callable[[int], None] = lambda runs: None
) -> list[Prediction]:
    """Predict every run of a table. `seed` is that of the service noise; `progress` is told of every run that is done.

    `service` is "own" (the run's own logged service times and their spread) or "fit" (affine fits to low load, with
    contention on the CPU; on the accelerator the analytic model). Raises `InputError` for another one, a negative
    seed, or a run whose place in its sweep is not known.
    """
    chosen = next((name for name in SERVICES if name == service), None)
    if chosen is None:
        raise InputError("service", service, f"must be one of {', '.join(SERVICES)}")
    if seed < 0:
        raise InputError("seed", seed, "must be a whole number of at least 0")
    sweeps, predictions = Sweeps(runs), []
    for run in runs:
        predictions.append(_predict(run, sweeps, chosen, seed))
        progress(1)
    return predictions


def _predict(run: Run, sweeps: Sweeps, service: Service, seed: int) -> Prediction:
    sent = send(run, sweeps.gaps_ms(run))
    items = np.full(run.queries, run.stages[0].items, dtype=np.int64)
    scenario = _scenario(run, times(run, service), contended=service == "fit")
    noise_key = int(np.random.SeedSequence([seed, run.line]).generate_state(1, np.uint64)[0])
    records = simulate_traffic(scenario, Traffic(sent.left_s, items, noise_key))
    latency_s = records.completion_s - sent.stamped_s
    return Prediction(run, float(latency_s.mean()), float(np.percentile(latency_s, 95)), utilisation(run))


def utilisation(run: Run) -> float:
    """Share of the time that the engines of the busiest pool are busy, by the log: at the achieved rate."""
    busy = [
        (seconds + process(run, stage.device).occupancy_s) / stage.engines
        for seconds, stage in zip(engine_s(run), run.stages, strict=True)
    ]
    return run.achieved_qps * max(busy)


def _scenario(run: Run, stage_times: Sequence[Times], *, contended: bool) -> Scenario:
    """Every stage is a pool of engines and, on CPU and GPU, one sort process behind it; queries are not split."""
    stages: list[dict[str, Any]] = []
    for position, (stage, time) in enumerate(zip(run.stages, stage_times, strict=True)):
        around = process(run, stage.device)
        last = position == len(run.stages) - 1
        engines: dict[str, Any] = {
            "servers": stage.engines,
            "latency": {"kind": "affine", "base_ms": time.engine_s * 1e3, "per_item_ms": 0.0, "cv": time.cv},
        }
        if contended and stage.device == "cpu":
            engines["contention"] = {"c": CONTENTION, "servers": CPU_ENGINES}
        stages.append(
            {
                "name": f"stage {position + 1}",
                "cpu": engines,
                "keep": None if last else run.stages[position + 1].items,
                "overhead_s": around.occupancy_s,
                "transfer_s": around.transfer_s + around.per_item_s * stage.items,
            }
        )
        if time.sort_s > 0.0:
            sort = {"servers": 1, "latency": {"kind": "constant", "ms": time.sort_s * 1e3}}
            stages.append({"name": f"sort {position + 1}", "cpu": sort})
    return load_scenario(
        {
            "sla_ms": 1e3 * run.total_p95_s,
            "workload": {
                "arrivals": {"kind": "poisson-ms", "qps": 1e3 / run.gap_ms},
                "sizes": {"kind": "fixed", "items": run.stages[0].items},
            },
            "pipeline": stages,
            "control": {"batch_size": max(stage.items for stage in run.stages)},
        }
    )


def buckets(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """By utilisation: how many runs, and the medians of the absolute relative errors of mean and p95 (None of none)."""
    found, low = [], 0.0
    for label, high in BUCKETS:
        inside = [prediction for prediction in predictions if low <= prediction.utilisation < high]
        found.append(
            {
                "utilisation": label,
                "runs": len(inside),
                "mean_error_median": _median([abs(prediction.mean_error) for prediction in inside]),
                "p95_error_median": _median([abs(prediction.p95_error) for prediction in inside]),
            }
        )
        low = high
    return found


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def write_predictions(predictions: Sequence[Prediction], path: Path) -> None:
    """One row a run, with `OUTPUT_COLUMNS`; floats by repr, errors relative and with their sign."""
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(OUTPUT_COLUMNS)
        for found in predictions:
            run = found.run
            names = ("model", "items", "device", "engines")
            named = ["|".join(str(getattr(stage, name)) for stage in run.stages) for name in names]
            figures = (run.gap_ms, run.achieved_qps, found.utilisation, found.mean_s, found.p95_s)
            logged = (run.total_mean_s, run.total_p95_s, found.mean_error, found.p95_error)
            writer.writerow([run.line, *named, *figures, *logged])
