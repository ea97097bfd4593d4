"""Learning curves over training seeds: interquartile mean and mean of every validation, with bootstrap intervals.

The statistics are rliable's (Agarwal et al., 2021). Its stratified bootstrap draws the runs of each task anew; with one
task, a scenario, that is the percentile bootstrap over the seeds, which is SciPy's. rliable itself is not needed:
its release 1.2 draws from NumPy's global generator whatever seed it is given, and does not import beside pandas 3.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from deeprec_env.agents.evaluations import EVALUATIONS, read_evaluations
from deeprec_env.errors import InputError
from deeprec_env.files import replacing
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.header import SCHEMA_VERSION

RETURN = "return"
"""Sum of an episode's rewards, mean over the validation episodes; the other figures are those that are judged."""

RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Band:
    """A statistic over the seeds at every point, with the ends of its interval; (points,) each.

    `low` and `high` are None for a single seed.
    """

    value: Floats
    low: Floats | None
    high: Floats | None

    def ci(self, point: int) -> list[float] | None:
        """The interval at a point."""
        return None if self.low is None or self.high is None else [float(self.low[point]), float(self.high[point])]


@dataclass(frozen=True)
class Curves:
    """Validations of several trainings that differ in their seed alone.

    `timesteps`: those at which all of them were validated, in order. `figures`: by name (seeds, timesteps).
    """

    seeds: tuple[int, ...]
    objective: str
    timesteps: tuple[int, ...]
    figures: Mapping[str, Floats]

    @cached_property
    def iqm(self) -> dict[str, Band]:
        """Interquartile mean of each figure: the mean of the middle half of the seeds."""
        return {name: bootstrap(values, _interquartile_mean) for name, values in self.figures.items()}

    @cached_property
    def mean(self) -> dict[str, Band]:
        """Mean of each figure."""
        return {name: bootstrap(values, np.mean) for name, values in self.figures.items()}

    @property
    def final(self) -> dict[str, dict[str, Any]]:
        """The statistics of each figure at the last point."""
        return {name: self._at(name, -1) for name in self.figures}

    @property
    def best(self) -> dict[str, dict[str, Any]]:
        """The same of each seed's own best point, by the objective: of the models that are kept as the best."""
        points = np.argmin(self.figures[self.objective], axis=1)
        chosen = {name: values[range(len(points)), points][:, None] for name, values in self.figures.items()}
        return Curves(self.seeds, self.objective, (0,), chosen).final

    def to_json(self) -> dict[str, Any]:
        """All of it; `values` is (seeds, timesteps)."""
        points = range(len(self.timesteps))
        return {
            "schema_version": SCHEMA_VERSION,
            "objective": self.objective,
            "confidence": CONFIDENCE,
            "seeds": list(self.seeds),
            "timesteps": list(self.timesteps),
            "figures": {
                name: {
                    "values": values.tolist(),
                    "iqm": self.iqm[name].value.tolist(),
                    "iqm_ci": [self.iqm[name].ci(point) for point in points],
                    "mean": self.mean[name].value.tolist(),
                    "mean_ci": [self.mean[name].ci(point) for point in points],
                }
                for name, values in self.figures.items()
            },
        }

    def write(self, folder: Path) -> None:
        """Write learning_curve.json, and learning_curve.csv with a row for each figure and point."""
        with replacing(folder / "learning_curve.json") as file:
            json.dump(self.to_json(), file, indent=2)
        with replacing(folder / "learning_curve.csv") as file:
            ends = ("iqm", "iqm_low", "iqm_high", "mean", "mean_low", "mean_high")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["figure", "timesteps", *ends, *(f"seed_{seed}" for seed in self.seeds)])
            for name, values in self.figures.items():
                for point, timesteps in enumerate(self.timesteps):
                    at = self._at(name, point)
                    iqm_ci, mean_ci = (at[key] or ["", ""] for key in ("iqm_ci", "mean_ci"))
                    bands = [at["iqm"], *iqm_ci, at["mean"], *mean_ci]
                    writer.writerow([name, timesteps, *bands, *values[:, point].tolist()])

    def _at(self, name: str, point: int) -> dict[str, Any]:
        iqm, mean = self.iqm[name], self.mean[name]
        return {
            "iqm": float(iqm.value[point]),
            "iqm_ci": iqm.ci(point),
            "mean": float(mean.value[point]),
            "mean_ci": mean.ci(point),
        }


def read_curves(folders: Mapping[int, Path], objective: str) -> Curves:
    """The curves of trainings, by their seeds; `InputError` where they have no validation in common."""
    each = {seed: read_evaluations(folder) for seed, folder in folders.items()}
    common = sorted(set.intersection(*(set(evaluations.timesteps) for evaluations in each.values())))
    if not common:
        empty = [str(folders[seed] / EVALUATIONS) for seed in each if not each[seed].timesteps]
        raise InputError("output", empty[0] if empty else "trainings", "must hold validations at the same timesteps")
    columns: dict[str, list[list[float]]] = {}
    for evaluations in each.values():
        rows = [evaluations.timesteps.index(timesteps) for timesteps in common]
        returns = np.mean(evaluations.returns, axis=1).tolist()
        for name, values in {RETURN: returns, **evaluations.figures}.items():
            columns.setdefault(name, []).append([values[row] for row in rows])
    whole = {name: np.array(values) for name, values in columns.items() if len(values) == len(each)}
    return Curves(tuple(each), objective, tuple(common), whole)


def bootstrap(values: Floats, statistic: Any) -> Band:
    """A statistic over the runs of `values` (runs, points), which takes `axis`, with its percentile interval.

    The intervals of few runs are narrow: those of five hold the true value less often than they say.
    """
    value = np.asarray(statistic(values, axis=0))
    if len(values) < 2:
        return Band(value, None, None)
    interval = stats.bootstrap(
        (values,),
        statistic,
        axis=0,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        random_state=np.random.default_rng(0),  # the same for all figures, and whenever the same curves are read
    ).confidence_interval
    return Band(value, np.asarray(interval.low), np.asarray(interval.high))


def _interquartile_mean(values: Floats, axis: int) -> Any:
    return stats.trim_mean(values, 0.25, axis=axis)
