"""DeepRecSys's table of gains over static: every model, node, target and rule, each method measured alike.

Published: Gupta et al., DeepRecSys (ISCA 2020), geometric means over the eight models at low, medium and high targets,
digitised from its figures.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor
from deeprec_env.executors.processes import Processes
from deeprec_env.files import check_writable, make_folder, replacing
from deeprec_env.policies.fixed.grid_capacity import MOST_EFFORT
from deeprec_env.policies.fixed.tune import TuneOptions, find_setting
from deeprec_env.policies.presets import TARGETS_MS
from deeprec_env.provenance import Question, ask
from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.load import load_scenario, preset_text
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.simulate import simulate
from deeprec_env.sources import RESULTS, check_header, with_sources

MODELS = tuple(TARGETS_MS)
NODES = {"cpu": "-cpu", "accelerator": ""}
"""What a node has beside its CPU, and how its preset's name ends."""

TARGETS = {"low": 0.5, "medium": 1.0, "high": 1.5}
"""Targets in those of the presets."""

RULES = {"full": 2.0, "p95-only": None}
"""`p99_factor` of each rule."""

BASELINE = "static"
METHODS = ("deeprecsched", "deeprecsched-repository", "grid-capacity")

PUBLISHED = {
    ("qps", "cpu"): (1.7, 2.1, 2.6),
    ("qps", "accelerator"): (4.3, 5.3, 5.9),
    ("qps_per_watt", "cpu"): (1.7, 2.0, 2.6),
    ("qps_per_watt", "accelerator"): (2.0, 2.5, 2.8),
}
"""Published gains over static, by figure and node, at the three targets."""


@dataclass(frozen=True)
class Cell:
    """One setting to be found and measured. Static is a node without accelerator, and so only in the CPU's table."""

    model: str
    node: str
    target: str
    rule: str
    method: str

    def scenario(self) -> Scenario:
        """The preset with the cell's target and rule."""
        preset = load_scenario(self.model + NODES[self.node])
        return preset.replace(sla_ms=TARGETS[self.target] * preset.sla_ms, p99_factor=RULES[self.rule])


@dataclass(frozen=True)
class Row:
    """What a cell's method found: its setting and capacity by the cell's rule, and QPS per watt at that capacity.

    Where the setting cannot meet the target at any rate `qps` is 0, `limited_by` "infeasible", and there is no interval
    and no `qps_per_watt`.
    """

    model: str
    node: str
    target: str
    rule: str
    method: str
    sla_ms: float
    batch_size: int
    threshold: Threshold
    qps: float
    qps_low: float | None
    qps_high: float | None
    limited_by: str
    cpu_load: float
    accelerator_load: float | None
    qps_per_watt: float | None
    tuning_queries: int

    @property
    def cell(self) -> Cell:
        """The cell that it is of."""
        return Cell(self.model, self.node, self.target, self.rule, self.method)


def cells(models: Sequence[str]) -> list[Cell]:
    """The cells of some models in the table's order; `InputError` for a model without preset."""
    for model in models:
        if model not in MODELS:
            raise InputError("models", model, f"must be some of {', '.join(MODELS)}")
    return [
        Cell(model, node, target, rule, method)
        for model in MODELS
        if model in models
        for node in NODES
        for target in TARGETS
        for rule in RULES
        for method in ((BASELINE, *METHODS) if node == "cpu" else METHODS)
    ]


def measure(cell: Cell, seed: int) -> Row:
    """Tune a cell's scenario by its method, then find what the setting carries and at which power."""
    scenario, options = cell.scenario(), TuneOptions(seed=seed)
    tuned = find_setting(scenario, cell.method, options, lambda what: None)
    chosen = scenario.with_setting(tuned.setting)
    found = find_capacity(
        chosen, queries=MOST_EFFORT * options.queries, seed=seed, p95_only=False, confirm=False
    )  # as `tune` does for all methods alike
    low, high = found.qps_ci or (None, None)
    per_watt = None
    if found.qps > 0.0:
        per_watt = simulate(chosen, qps=found.qps, seed=seed, split="validation").usage.qps_per_watt
    return Row(
        **asdict(cell),
        sla_ms=scenario.sla_ms,
        batch_size=tuned.setting.batch_size,
        threshold=tuned.setting.threshold,
        qps=found.qps,
        qps_low=low,
        qps_high=high,
        limited_by=found.limited_by,
        cpu_load=found.offered_load["cpu"],
        accelerator_load=found.offered_load.get("accelerator"),
        qps_per_watt=per_watt,
        tuning_queries=tuned.queries_used,
    )


class PaperRun:
    """The rows of some models, kept in `folder`/paper.csv, which is written anew after each cell.

    A run that finds the file there, of the same seed, presets and version, computes what is missing; rows of other
    models stay. Raises `InputError` for a file of another run.
    """

    def __init__(self, folder: Path, models: Sequence[str], seed: int) -> None:
        self.cells, self._seed = cells(models), seed
        TuneOptions(seed=seed)  # bad input, before files
        self._header = with_sources(f"# deeprec paper, seed {seed}, presets {_fingerprint()}", (*RESULTS, "policies"))
        self._known: dict[Cell, Row] = {}
        make_folder("output", folder)
        self.csv = folder / "paper.csv"
        check_writable("output", self.csv)
        if self.csv.exists():
            self._read()

    @property
    def question(self) -> Question:
        """What was asked."""
        models = list(dict.fromkeys(cell.model for cell in self.cells))
        covers = (*RESULTS, "policies")
        return ask("paper", None, seed=self._seed, split="validation", engine="compiled", sources=covers, models=models)

    @property
    def rows(self) -> list[Row]:
        """The rows there are of the models asked for, in the table's order."""
        return [self._known[cell] for cell in self.cells if cell in self._known]

    def run(self, progress: Callable[[str, int], None], *, executor: Executor = Processes()) -> None:
        """Compute what is missing, by default a process a core; `progress` is told of what is done since."""
        missing = [cell for cell in self.cells if cell not in self._known]
        progress("paper", len(self.cells) - len(missing))
        for _, row in executor.results(_work, self._seed, missing):
            self._known[row.cell] = row
            self._write()
            progress(f"paper: {row.model}, {row.node}, {row.target}, {row.rule}, {row.method}", 1)

    def _read(self) -> None:
        with self.csv.open(encoding="utf-8", newline="") as file:
            header = file.readline().rstrip("\n")
            lines = list(csv.DictReader(file))
        check_header(self.csv, header, self._header, "holds a table of another seed, presets or an older version")
        try:
            rows = [_parsed(line) for line in lines]
        except (KeyError, TypeError, ValueError):
            raise InputError("output", str(self.csv), "is damaged; remove it to begin anew") from None
        self._known = {row.cell: row for row in rows}

    def _write(self) -> None:
        with replacing(self.csv) as file:
            file.write(self._header + "\n")
            writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(self._known[cell]) for cell in cells(MODELS) if cell in self._known)


def _work(seed: int, cell: Cell) -> Row:
    return measure(cell, seed)


def _parsed(line: dict[str, str]) -> Row:
    values: dict[str, Any] = {}
    for field in fields(Row):
        text, kind = line[field.name], str(field.type)
        if text == "" and ("None" in kind or kind == "Threshold"):
            values[field.name] = None
        else:
            values[field.name] = (str if kind == "str" else float if "float" in kind else int)(text)
    return Row(**values)


def _fingerprint() -> str:
    """Of all presets of the table and their profiles."""
    digest = hashlib.sha256()
    for model in MODELS:
        for end in NODES.values():
            digest.update(preset_text(model + end).encode())
            for stage in load_scenario(model + end).stages:
                digest.update("".join(pool.latency.fingerprint for pool in stage.pools().values()).encode())
    return digest.hexdigest()[:16]
