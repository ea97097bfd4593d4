"""Cells of a sweep: a pipeline at a rate, with its tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.recpipe.design_space.space import Candidate, SpaceConfig, scenario_of
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.summary import warmup_queries
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

KEY_COLUMNS = ("models", "items", "mapping", "engines", "sub_batches")
COLUMNS = (*KEY_COLUMNS, "quality", "qps", "load", "mean_ms", "p50_ms", "p95_ms", "p99_ms", "meets")
"""Of a table of cells. The stages' values have | between them; rates in queries a second; `meets` is 1 or 0."""


@dataclass(frozen=True)
class Cell:
    """A pipeline at a rate. `load`: offered load of its busiest pool; `meets`: load below 1, p95 and p99 in bounds.

    At a load of 1 and above latencies grow for as long as the run lasts: those here are of this run's length.
    """

    key: tuple[str, ...]
    quality: float | None
    qps: float
    load: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    meets: bool

    @property
    def stages(self) -> int:
        """Stages of the pipeline."""
        return len(self.mapping.split("|"))

    @property
    def mapping(self) -> str:
        """The devices, stage by stage."""
        return self.key[2]

    def row(self) -> list[str]:
        """The texts of `COLUMNS`; floats by repr, an unknown quality empty."""
        quality = "" if self.quality is None else repr(self.quality)
        times = (self.qps, self.load, self.mean_ms, self.p50_ms, self.p95_ms, self.p99_ms)
        return [*self.key, quality, *map(repr, times), str(int(self.meets))]

    @classmethod
    def of_row(cls, row: Sequence[str]) -> Cell:
        """The cell of such texts; `ValueError` for what is none."""
        if len(row) != len(COLUMNS) or row[-1] not in ("0", "1"):
            raise ValueError("not a whole row")
        split = len(KEY_COLUMNS)
        quality = float(row[split]) if row[split] else None
        qps, load, mean_ms, p50_ms, p95_ms, p99_ms = map(float, row[split + 1 : -1])
        return cls(tuple(row[:split]), quality, qps, load, mean_ms, p50_ms, p95_ms, p99_ms, row[-1] == "1")


def unit_traffic(config: SpaceConfig, scenario: Scenario, seed: int, queries: int | None = None) -> Traffic:
    """The queries of all cells at one query a second; every pipeline and rate gets the same, stretched (rule 1)."""
    return QueryStream(scenario.workload, episode_seed(seed)).draw(queries or config.queries)


def run_cells(config: SpaceConfig, candidate: Candidate, rates_qps: Sequence[float], unit: Traffic) -> list[Cell]:
    """Run a pipeline at some rates, all of them planned once and in one call of compiled code."""
    from deeprec_env.simulation.rates import PlannedRun  # compiled code: loaded when it is needed

    scenario = scenario_of(config, candidate)
    bound = max(1.0 / demand.saturation_qps for demand in service_demands(scenario, scenario.setting))
    planned = PlannedRun(scenario, unit)
    tails = planned.tails(np.asarray(rates_qps, dtype=np.float64), warmup_queries(len(planned))) * 1e3
    cells = []
    for qps, (mean, p50, p95, p99) in zip(rates_qps, tails.tolist(), strict=True):
        load = qps * bound
        in_bounds = p95 <= config.sla_ms and (config.p99_factor is None or p99 <= config.p99_factor * config.sla_ms)
        cells.append(Cell(candidate.key, candidate.quality, qps, load, mean, p50, p95, p99, load < 1.0 and in_bounds))
    return cells


def cells_of(shared: tuple[SpaceConfig, Traffic], task: tuple[Candidate, Sequence[float]]) -> list[Cell]:
    """`run_cells` as a piece of work: what all cells share, and a pipeline with its rates."""
    (config, unit), (candidate, rates_qps) = shared, task
    return run_cells(config, candidate, rates_qps, unit)


def check_seed(seed: int) -> None:
    """Raise `InputError` for a seed below 0."""
    if seed < 0:
        raise InputError("seed", seed, "must be a whole number of at least 0")
