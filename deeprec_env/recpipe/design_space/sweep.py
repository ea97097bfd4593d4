"""Sweeping a space of pipelines: every pipeline at every rate, in a table that survives an interruption."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor, Threads
from deeprec_env.files import check_writable, make_folder, replacing, replacing_path
from deeprec_env.recpipe.design_space.cells import COLUMNS, KEY_COLUMNS, Cell, cells_of, check_seed, unit_traffic
from deeprec_env.recpipe.design_space.pareto import front
from deeprec_env.recpipe.design_space.space import Candidate, Space, SpaceConfig, scenario_of
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.sources import check_header, with_sources

Progress = Callable[[str, int], None]


def silent(what: str, done: int) -> None:
    """Progress that nobody looks at."""


class CellTable:
    """Cells in `folder`/cells.csv: whole rows are appended as they come, and those that are there are known.

    Raises `InputError` for a table with other queries, seed or assumptions, or computed by other code. A larger grid,
    or more rates, go on with the same table. A last row that was cut off is dropped.
    """

    def __init__(self, config: SpaceConfig, folder: Path, seed: int) -> None:
        check_seed(seed)
        self.path = folder / "cells.csv"
        self._header = with_sources(f"# pipelines, seed {seed}, {_fingerprint(config)}")
        make_folder("output", folder)
        check_writable("output", self.path)
        self.known: dict[tuple[tuple[str, ...], float], Cell] = {}
        if self.path.exists():
            self._read()
        self._write()

    def missing(self, candidate: Candidate, rates_qps: Iterable[float]) -> list[float]:
        """The rates at which a pipeline is not known yet."""
        return [qps for qps in rates_qps if (candidate.key, qps) not in self.known]

    def of(self, candidate: Candidate, rates_qps: Iterable[float]) -> list[Cell]:
        """The cells of a pipeline, all of them known."""
        return [self.known[candidate.key, qps] for qps in rates_qps]

    def add(self, cells: Sequence[Cell]) -> None:
        """Append cells, in one write."""
        if not cells:
            return
        self.known |= {(cell.key, cell.qps): cell for cell in cells}
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(cell.row() for cell in cells)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())

    def begin_with(self, cells: Sequence[Cell]) -> None:
        """Write the table anew, these cells first: its bytes don't tell in which order they were computed."""
        first = {(cell.key, cell.qps): cell for cell in cells}
        self.known = first | self.known
        self._write()

    def _read(self) -> None:
        text = self.path.read_text(encoding="utf-8")
        lines = text.splitlines()
        otherwise = "holds a sweep with another seed, queries or assumptions"
        check_header(self.path, lines[0] if lines else "", self._header, otherwise)
        whole = lines[2:] if text.endswith("\n") else lines[2:-1]
        for number, row in enumerate(csv.reader(whole), start=3):
            try:
                cell = Cell.of_row(row)
            except ValueError:
                raise InputError(f"output {self.path} line {number}", ",".join(row), "is damaged") from None
            self.known[cell.key, cell.qps] = cell

    def _write(self) -> None:
        with replacing(self.path) as file:
            file.write(self._header + "\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(cell.row() for cell in self.known.values())


def write_parquet(cells: Sequence[Cell], path: Path) -> Path:
    """The table of some cells as Parquet; its path."""
    import pyarrow as pa  # loaded when the first Parquet file is written
    from pyarrow import parquet

    keys = [dict(zip(KEY_COLUMNS, cell.key, strict=True)) for cell in cells]
    figures = COLUMNS[len(KEY_COLUMNS) :]
    columns = {name: [key[name] for key in keys] for name in KEY_COLUMNS}
    columns |= {name: [getattr(cell, name) for cell in cells] for name in figures}
    with replacing_path(path) as temporary:
        parquet.write_table(pa.table(columns), temporary)
    return path


def _fingerprint(config: SpaceConfig) -> str:
    """What cells depend on besides pipeline, rate and seed."""
    facts = config.model_dump(mode="json", exclude={"grids", "qps", "gpus"})
    facts["qualities"] = hashlib.sha256(repr(sorted(config.qualities.items())).encode()).hexdigest()[:16]
    if config.quality is not None:
        facts["quality"] = config.quality.metric
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def sweep(
    space: Space,
    folder: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> list[Cell]:
    """Every pipeline of a space at every rate, in order, as they stand in `folder`/cells.csv at the end.

    An executor runs a pipeline at all its rates each: by default `workers` threads (one a core), as compiled code does
    not hold the others up. The same seed gives the same file, whoever does it. `progress` is told of every cell that is
    done.
    """
    rates = space.config.qps
    table = CellTable(space.config, folder, seed)
    pending = [(candidate, missing) for candidate in space.candidates if (missing := table.missing(candidate, rates))]
    there = len(space.candidates) * len(rates) - sum(len(missing) for _, missing in pending)
    progress(f"{there} cells are there", there)
    for _, cells in _results(space.config, pending, seed, None, executor or threads(workers)):
        table.add(cells)
        progress(f"{len(space.candidates)} pipelines", len(cells))
    found = [cell for candidate in space.candidates for cell in table.of(candidate, rates)]
    if pending:
        table.begin_with(found)
    return found


def run_all(
    config: SpaceConfig,
    pending: Sequence[tuple[Candidate, Sequence[float]]],
    *,
    seed: int,
    queries: int | None = None,
    workers: int | None = None,
) -> Iterable[list[Cell]]:
    """Cells of some pipelines at some rates, in their order, computed in threads."""
    early: dict[int, list[Cell]] = {}
    due = 0
    for number, cells in _results(config, pending, seed, queries, threads(workers)):
        early[number] = cells
        while due in early:
            yield early.pop(due)
            due += 1


def threads(workers: int | None) -> Threads:
    """So many of them (None: one a core); `InputError` for less than one."""
    if workers is not None and workers < 1:
        raise InputError("workers", workers, "must be at least 1")
    return Threads(workers)


def _results(
    config: SpaceConfig,
    pending: Sequence[tuple[Candidate, Sequence[float]]],
    seed: int,
    queries: int | None,
    executor: Executor,
) -> Iterable[tuple[int, list[Cell]]]:
    if not pending:
        return ()
    unit = unit_traffic(config, scenario_of(config, pending[0][0]), seed, queries)
    return executor.results(cells_of, (config, unit), pending)


def report(space: Space, cells: Sequence[Cell]) -> dict[str, Any]:
    """What a sweep found: counts, and at every rate the front of quality and p95 among the pipelines that meet."""
    fronts = []
    for qps in space.config.qps:
        meeting = [cell for cell in cells if cell.qps == qps and cell.meets]
        rated = [cell for cell in meeting if cell.quality is not None]
        best = front([(-(cell.quality or 0.0), cell.p95_ms) for cell in rated])
        fronts.append(
            {
                "qps": qps,
                "meeting": len(meeting),
                "front": [describe(rated[index]) for index in best],
            }
        )
    return {
        "schema_version": SCHEMA_VERSION,
        "pipelines": len(space.candidates),
        "rates": len(space.config.qps),
        "cells": len(cells),
        "queries": space.config.queries,
        "left_out": space.left_out,
        "fronts": fronts,
        "versions": versions(),
    }


def describe(cell: Cell) -> dict[str, Any]:
    """A cell, by name."""
    named = dict(zip(COLUMNS, cell.key, strict=False))
    figures = ("quality", "qps", "load", "mean_ms", "p95_ms", "p99_ms", "meets")
    return named | {name: getattr(cell, name) for name in figures}
