"""Searching a space of pipelines that is too large to sweep: Optuna, for quality and p95 or the rate at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.recpipe.design_space.cells import Cell, check_seed, run_cells, unit_traffic
from deeprec_env.recpipe.design_space.pareto import front
from deeprec_env.recpipe.design_space.space import Candidate, SpaceConfig, candidate_of, scenario_of
from deeprec_env.recpipe.design_space.sweep import CellTable, Progress, describe, silent
from deeprec_env.scenario.bounds import LOWEST_QPS
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.workload.stream import Traffic

OBJECTIVES = ("p95", "qps")

_OVERLOADED_MS = 1e6


@dataclass(frozen=True)
class Found:
    """What a search came upon: all cells, in the order of the trials, and the front of its objective and quality.

    `invalid`: trials whose stages are no pipeline; `repeated`: those of a pipeline that had been tried.
    """

    cells: list[Cell]
    best: list[Cell]
    objective: str
    qps: float | None
    trials: int
    invalid: int
    repeated: int

    def to_json(self) -> dict[str, Any]:
        """Counts, and the front."""
        at = {} if self.qps is None else {"qps": self.qps}
        return {
            "schema_version": SCHEMA_VERSION,
            "sampler": "optuna",
            "objective": self.objective,
            **at,
            "trials": self.trials,
            "invalid": self.invalid,
            "repeated": self.repeated,
            "front": [describe(cell) for cell in self.best],
            "versions": versions(),
        }


def search(
    config: SpaceConfig,
    folder: Path,
    *,
    trials: int,
    objective: str = "p95",
    qps: float | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Found:
    """Try `trials` pipelines of a space, chosen by Optuna's TPE for a high quality and a good `objective`.

    "p95": the p95 at the rate `qps` (one of the space's; default: its middle one), low; "qps": the highest of the
    space's rates that meets the target, high. Trials run one after another, so that a seed gives the same ones; cells
    are kept in `folder`/cells.csv, as a sweep's are, and those there are not run again. Raises `InputError` for bad
    input.
    """
    optuna = _optuna()
    at_qps = _check(config, trials, objective, qps, seed)
    table = CellTable(config, folder, seed)
    tried: dict[tuple[str, ...], list[Cell]] = {}
    repeated = 0
    unit: Traffic | None = None

    def values(trial: Any) -> tuple[float, float]:
        nonlocal repeated, unit
        progress("trials", 1)
        candidate = _suggest(trial, config)
        if candidate is None:
            raise optuna.TrialPruned
        repeated += candidate.key in tried
        if unit is None:
            unit = unit_traffic(config, scenario_of(config, candidate), seed)
        missing = table.missing(candidate, config.qps)
        if missing:
            table.add(run_cells(config, candidate, missing, unit))
        cells = tried[candidate.key] = table.of(candidate, config.qps)
        return -(candidate.quality or 0.0), _cost(cells, at_qps)

    study = optuna.create_study(directions=["minimize"] * 2, sampler=_sampler(optuna, seed))
    study.optimize(values, n_trials=trials)
    invalid = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    cells = [cell for of in tried.values() for cell in of]
    return Found(cells, best_of(cells, at_qps), objective, at_qps, trials, invalid, repeated)


def best_of(cells: Sequence[Cell], qps: float | None) -> list[Cell]:
    """The front of quality and of p95 at a rate, of what keeps up; or (None) of the highest rate that meets."""
    if qps is not None:
        here = [cell for cell in cells if cell.qps == qps and cell.load < 1.0]
        points = [(-(cell.quality or 0.0), cell.p95_ms) for cell in here]
    else:
        highest: dict[tuple[str, ...], Cell] = {}
        for cell in cells:
            if cell.meets and (cell.key not in highest or cell.qps > highest[cell.key].qps):
                highest[cell.key] = cell
        here = list(highest.values())
        points = [(-(cell.quality or 0.0), -cell.qps) for cell in here]
    return [here[index] for index in front(points)]


def _cost(cells: Sequence[Cell], qps: float | None) -> float:
    """What is to be small, as a logarithm, since devices lie decades apart: p95 at the rate, or one over the rate.

    An overloaded pipeline costs more the more work it gets, one that meets at no rate more than any other.
    """
    if qps is None:
        return -math.log(max((cell.qps for cell in cells if cell.meets), default=LOWEST_QPS))
    (cell,) = (cell for cell in cells if cell.qps == qps)
    return math.log(cell.p95_ms if cell.load < 1.0 else _OVERLOADED_MS * cell.load)


def _suggest(trial: Any, config: SpaceConfig) -> Candidate | None:
    """The pipeline of a trial: a grid, and from each of its lists a value."""
    number = trial.suggest_int("grid", 0, len(config.grids) - 1) if len(config.grids) > 1 else 0
    grid = config.grids[number]

    def choose(name: str, values: Sequence[Any]) -> Any:
        if len(values) == 1:
            return values[0]
        return values[trial.suggest_int(f"{number}.{name}", 0, len(values) - 1)]

    stages = [
        {name: choose(f"{position}.{name}", getattr(stage, name)) for name in type(stage).model_fields}
        for position, stage in enumerate(grid.stages)
    ]
    candidate = candidate_of(config, stages, choose("sub_batches", grid.sub_batches))
    return None if isinstance(candidate, str) else candidate


def _check(config: SpaceConfig, trials: int, objective: str, qps: float | None, seed: int) -> float | None:
    check_seed(seed)
    if config.quality is None:
        raise InputError("quality", None, "must be there: it is one of the objectives")
    if trials < 1:
        raise InputError("trials", trials, "must be at least 1")
    if objective not in OBJECTIVES:
        raise InputError("objective", objective, f"must be one of {', '.join(OBJECTIVES)}")
    if objective == "qps":
        if qps is not None:
            raise InputError("qps", qps, "must be left out: the objective qps looks at all rates")
        return None
    if qps is not None and qps not in config.qps:
        raise InputError("qps", qps, f"must be one of {', '.join(f'{rate:g}' for rate in config.qps)}")
    return config.qps[len(config.qps) // 2] if qps is None else qps


def _sampler(optuna: Any, seed: int) -> Any:
    """TPE that learns the values of each grid together; grids have parameters of their own.

    On `examples/pipelines/recpipe-5000.yaml` plain TPE dominates less, and NSGA-II, whose crossover knows only what all
    trials have in common, no more than random trials do.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def _optuna() -> Any:
    check_installed("optuna")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # below, an interrupt is a traceback of its own
    return optuna
