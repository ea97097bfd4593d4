"""How far the simulator is from the real thing: a matrix of live runs, interleaved, with repeats, and predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.files import make_folder
from deeprec_env.live.gaps import dispatch_gaps
from deeprec_env.live.predictors import Predictor
from deeprec_env.live.recording import Recording, read_recording
from deeprec_env.live.replay import (
    Comparison,
    fitted_gap_s,
    live_latency_s,
    replay_services,
)
from deeprec_env.live.run import run_live
from deeprec_env.models import check_model
from deeprec_env.profiling.measure import Effort
from deeprec_env.profiling.profile import ProfileSettings, profile_models
from deeprec_env.progress import Progress, Step, silent
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.intervals import quantile_interval
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.summary import warmup_queries

SIZES = {"kind": "lognormal", "mu": 4.2, "sigma": 0.7, "low": 1, "high": 512}
"""Of the queries: 85 items in the mean, 205 at p95, so that a batch of 16 cuts most of them and one of 128 few."""

_BATCHES = (1, 4, 8, 16, 32, 64, 128)
"""That are profiled: requests have at most 128 items."""


@dataclass(frozen=True)
class Cell:
    """One load on one node; `load` is of the node as it runs, by a pilot run."""

    model: str
    workers: int
    load: float
    batch_size: int

    @property
    def node(self) -> tuple[str, int, int]:
        """What a pilot run is of."""
        return self.model, self.workers, self.batch_size

    @property
    def name(self) -> str:
        """Of its files."""
        model = self.model.replace(":", ".")
        return f"{model}-{self.workers}w-b{self.batch_size}-{self.load:g}"


@dataclass(frozen=True)
class Matrix:
    """Which cells are measured, how often, and with how many queries each time.

    A run is as long as these take at its rate, but at most `most_s`, unless fewer than the least countable came then.
    """

    models: tuple[str, ...] = ("ncf", "wnd", "dlrm-rmc1")
    workers: tuple[int, ...] = (1, 2)
    loads: tuple[float, ...] = (0.3, 0.5, 0.7, 0.8)
    batch_sizes: tuple[int, ...] = (16, 128)
    repeats: int = 3
    queries: int = 4000
    most_s: float = 60.0
    passes: int = 6
    rows_scale: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for model in self.models:
            check_model(model)

    def cells(self) -> list[Cell]:
        """All of them, in order."""
        return [Cell(*each) for each in product(self.models, self.workers, self.loads, self.batch_sizes)]


QUICK = Matrix(models=("ncf", "wnd"), workers=(1,), loads=(0.5, 0.7), repeats=2, queries=2500, most_s=15.0, passes=2)
"""Less than ten minutes."""

_LEAST_QUERIES = 1600


@dataclass(frozen=True)
class Row:
    """What was measured of a cell, by repeat, and predicted. Errors are of p95 unless said, signed."""

    cell: Cell
    runs: tuple[Recording, ...]
    replays: tuple[Comparison, ...]
    own_gaps: tuple[Comparison, ...]
    predicted: dict[str, Comparison]

    @property
    def measured_s(self) -> dict[str, float]:
        """Mean and percentiles, the median over repeats."""
        figures = [replay.measured_s for replay in self.replays]
        return {name: float(np.median([each[name] for each in figures])) for name in figures[0]}

    @property
    def noise_floor(self) -> float:
        """How far p95 of one run is from that of another of the same queries: mean over pairs, relative."""
        p95_s = [replay.measured_s["p95"] for replay in self.replays]
        return float(np.mean([abs(a - b) for a, b in combinations(p95_s, 2)] or [np.nan]) / np.mean(p95_s))

    def error(self, name: str, figure: str = "p95") -> float:
        """Of a predictor, against the median of the repeats."""
        return Comparison(self.measured_s, self.predicted[name].predicted_s).error[figure]

    def to_json(self) -> dict[str, Any]:
        """As results hold it, in milliseconds."""
        latency_s = live_latency_s(self.runs[0])
        counted_s = latency_s[warmup_queries(len(latency_s)) :]
        late_s = [np.quantile(run.of_queries("entry_s") - run.of_queries("arrival_s"), 0.99) for run in self.runs]
        return {
            "model": self.cell.model,
            "workers": self.cell.workers,
            "load": self.cell.load,
            "batch_size": self.cell.batch_size,
            "measured_p95_ms": self.measured_s["p95"] * 1e3,
            "measured_p95_ci_ms": [end * 1e3 for end in quantile_interval(counted_s, 0.95)],
            "measured_ms": _ms(self.measured_s),
            "queries": len(latency_s),
            "qps": self.runs[0].scenario.workload.arrivals.mean_qps,
            "runs_p95_ms": [replay.measured_s["p95"] * 1e3 for replay in self.replays],
            "noise_floor": self.noise_floor,
            "lateness_p99_ms": float(np.median(late_s)) * 1e3,
            "replay_error": _largest([replay.error["p95"] for replay in self.replays]),
            "replay_mean_error": _largest([replay.error["mean"] for replay in self.replays]),
            "own_gaps_error": _largest([replay.error["p95"] for replay in self.own_gaps]),
            "replay_errors": [[replay.error["mean"], replay.error["p95"]] for replay in self.replays],
            **{f"{name}_error": self.error(name) for name in self.predicted},
            **{f"{name}_mean_error": self.error(name, "mean") for name in self.predicted},
            **{f"{name}_ms": _ms(comparison.predicted_s) for name, comparison in self.predicted.items()},
            **{f"{name}_p95_range_ms": _range_ms(comparison) for name, comparison in self.predicted.items()},
        }


def measure(matrix: Matrix, folder: Path, progress: Progress = silent) -> dict[Cell, list[Recording]]:
    """Profile the models, run every cell `repeats` times, in a new random order each time, and keep all in a folder.

    What the folder holds is not measured again, so that an interrupted measurement goes on. `InputError` for one that
    holds other runs.
    """
    make_folder("output", folder)
    profile = folder / "profile.csv"
    settings = ProfileSettings(
        matrix.models, batches=_BATCHES, rows_scale=matrix.rows_scale, effort=Effort.of_passes(matrix.passes)
    )
    profile_models(settings, profile, lambda name: progress(Step(f"profile {name}", 0.0)))
    rng, cells = np.random.default_rng(matrix.seed), matrix.cells()
    work_s = {cell.node: 0.0 for cell in cells}
    done, total = 0, len(work_s) + len(cells) * matrix.repeats
    for node in work_s:
        progress(Step(f"pilot {' '.join(map(str, node))}", done / total))
        work_s[node] = _work_s(_pilot(matrix, folder, profile, node))
        done += 1
    runs: dict[Cell, list[Recording]] = {cell: [] for cell in cells}
    for repeat in range(matrix.repeats):
        for place in rng.permutation(len(cells)).tolist():
            cell = cells[place]
            progress(Step(f"{cell.name}, run {repeat + 1} of {matrix.repeats}", done / total))
            scenario = scenario_of(cell, profile, cell.load * cell.workers / work_s[cell.node])
            path = folder / f"{cell.name}-run{repeat + 1}.parquet"
            runs[cell].append(_run(matrix, scenario, path, matrix.seed + 1 + place))
            done += 1
    return runs


def rows_of(
    runs: dict[Cell, list[Recording]], predictors: Sequence[Predictor], progress: Progress = silent
) -> Iterator[Row]:
    """The rows of a measured matrix. Gaps and calibrations are fitted on the runs of the other cells of the node."""
    for place, (cell, own) in enumerate(runs.items()):
        progress(Step(f"predict {cell.name}", place / len(runs)))
        others = [
            run
            for other, of_other in runs.items()
            if other != cell and (other.model, other.workers) == (cell.model, cell.workers)
            for run in of_other
        ]
        gap_s = fitted_gap_s(others or own)
        replays, own_gaps = (tuple(replay_services(run, gap) for run in own) for gap in (gap_s, None))
        predicted = {each.name: each.predict(own[0], others or own) for each in predictors}
        yield Row(cell, tuple(own), replays, own_gaps, predicted)


def check_profile(profile: str, models: Sequence[str]) -> None:
    """Raise `InputError` for a profile that can't predict one of the models; called before anything is measured."""
    for model in models:
        _scenario((model, 1, 128), profile, 1.0)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Medians and worst of the absolute errors: of replays by the number of workers, of p95 predicted to load 0.7."""
    found: dict[str, Any] = {}
    for workers in sorted({row.cell.workers for row in rows}):
        of_these = [replay for row in rows if row.cell.workers == workers for replay in row.replays]
        errors = [abs(replay.error[name]) for replay in of_these for name in ("mean", "p95")]
        found[f"replay_{workers}_workers"] = {"median": float(np.median(errors)), "worst": float(np.max(errors))}
    to_seven = [row for row in rows if row.cell.load <= 0.7] or list(rows)
    for name in rows[0].predicted:
        errors = [abs(row.error(name)) for row in to_seven]
        found[f"{name}_to_0.7"] = {"median": float(np.median(errors)), "worst": float(np.max(errors))}
    found["noise_floor_to_0.7"] = {"median": float(np.median([row.noise_floor for row in to_seven]))}
    return found


def scenario_of(cell: Cell, profile: Path, qps: float) -> Scenario:
    """A cell as a scenario, at a rate."""
    return _scenario(cell.node, str(profile.resolve()), qps)


def _scenario(node: tuple[str, int, int], profile: str, qps: float) -> Scenario:
    model, workers, batch_size = node
    latency = {"kind": "profile", "profile": profile, "model": model}
    return load_scenario(
        {
            "sla_ms": 100,
            "workload": {"arrivals": {"kind": "poisson", "qps": qps}, "sizes": SIZES},
            "node": {"cpu": {"servers": workers, "latency": latency}},
            "control": {"batch_size": batch_size},
        }
    )


def _pilot(matrix: Matrix, folder: Path, profile: Path, node: tuple[str, int, int]) -> Recording:
    """A run at half the load that the profile says, which tells what a query costs in operation."""
    scenario = _scenario(node, str(profile.resolve()), 1.0)
    (demand,) = service_demands(scenario, scenario.setting)
    scenario = _scenario(node, str(profile.resolve()), 0.5 / demand.load(1.0))
    model, workers, batch_size = node
    path = folder / f"{model.replace(':', '.')}-{workers}w-b{batch_size}-pilot.parquet"
    return _run(matrix, scenario, path, matrix.seed)


def _work_s(pilot: Recording) -> float:
    """Server-seconds of a query, the gap before each request with it."""
    columns = pilot.columns
    service_s = float((columns["end_s"] - columns["start_s"]).sum())
    gap_s = dispatch_gaps(pilot).mean_s * len(columns["query"])
    return (service_s + gap_s) / len(pilot.first_rows())


def _run(matrix: Matrix, scenario: Scenario, path: Path, seed: int) -> Recording:
    if path.exists():
        recording = read_recording(path)
        if recording.scenario != scenario or recording.header.get("seed") != seed:
            raise InputError("output", str(path), "is of another matrix or profile; name another folder")
        return recording
    qps = scenario.workload.arrivals.mean_qps
    duration_s = max(min(matrix.queries / qps, matrix.most_s), _LEAST_QUERIES / qps)
    return run_live(scenario, duration_s=duration_s, seed=seed, record_to=path).recording


def _range_ms(comparison: Comparison) -> list[float] | None:
    """Where p95 of 95 % of the seeds lies; None of one alone."""
    return [end * 1e3 for end in comparison.range_s["p95"]] if comparison.range_s else None


def _largest(errors: Sequence[float]) -> float:
    """The one furthest from 0."""
    return max(errors, key=abs)


def _ms(figures_s: dict[str, float]) -> dict[str, float]:
    return {name: value * 1e3 for name, value in figures_s.items()}
