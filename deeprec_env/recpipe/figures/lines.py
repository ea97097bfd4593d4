"""What most figures are made of: pipelines run at rates, and the best of them at each."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprec_env.files import replacing
from deeprec_env.pictures import picture_paths
from deeprec_env.recpipe.design_space.cells import Cell
from deeprec_env.recpipe.design_space.pictures import Line
from deeprec_env.recpipe.design_space.space import load_space, space_of
from deeprec_env.recpipe.design_space.sweep import run_all
from deeprec_env.recpipe.figures.published import ENOUGH

Row = dict[str, Any]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class FigureFiles:
    """Where a figure's table and its pictures, one of every kind, are written."""

    csv: Path
    pictures: Sequence[Path]

    @classmethod
    def of(cls, folder: Path, number: str, kinds: Sequence[str]) -> FigureFiles:
        """`folder`/figureNUMBER.csv, and .png, .pdf, .svg."""
        name = f"figure{number}"
        return cls(folder / f"{name}.csv", picture_paths(folder, name, kinds))

    @property
    def all(self) -> list[Path]:
        """The table, then the pictures."""
        return [self.csv, *self.pictures]


CPU_QUERIES, ACCELERATOR_QUERIES = 2000, 10_000
"""Queries of a run, as in the artifact."""

ITEMS = [1024, 1600, 2048, 3200, 4096]
NARROWED = [128, 256, 512, 1024, 2048]
MODELS = ["dim_4", "dim_16", "dim_32"]

TWO_HALVES = [(unit, unit // 2) for unit in (4, 16, 64)]
"""Units of half the chip: (size, number)."""


def caption(seed: int, *, candidates: int | None = 4096) -> str:
    """What stands below a picture of runs: what was simulated, and which of its lines were logged."""
    of = "" if candidates is None else f", {candidates} candidates a query"
    return f"simulated: RecPipe's experiment{of}, seed {seed}; hollow and dashed: as logged"


def stage(model: str | list[str], items: int | list[int], device: str, **more: Any) -> Row:
    """A stage of a grid."""
    return {"model": model, "items": items, "device": device, **more}


def cpu_gpu_grids(stages: int, gpu: bool) -> list[Row]:
    """The artifact's pipelines of n stages: on CPU cores alone, or with one stage on the GPU."""
    if stages == 1:
        return [{"stages": [stage(MODELS, ITEMS, "gpu" if gpu else "cpu")]}]
    ranked = [("dim_4", [512, *ITEMS]), *([("dim_16", NARROWED)] if stages == 3 else []), ("dim_32", NARROWED)]
    chosen = [position if gpu else None for position in (range(stages) if gpu else (0,))]
    return [
        {
            "stages": [
                stage(model, items, "gpu" if position == on_gpu else "cpu")
                for position, (model, items) in enumerate(ranked)
            ]
        }
        for on_gpu in chosen
    ]


def rpaccel_grids(stages: int, fidelity: str = "artifact", sub_batches: int = 1) -> list[Row]:
    """RPAccel whole, or split: into halves for two stages; a half and two quarters for three."""
    more = {"fidelity": fidelity}
    if stages == 1:
        return [{"stages": [stage("dim_32", 4096, "accelerator", unit=1, engines=1, **more)]}]
    halves = [{"unit": unit, "engines": count, **more} for unit, count in TWO_HALVES]
    if stages == 2:
        return [
            {
                "stages": [stage("dim_4", 4096, "accelerator", **a), stage("dim_32", 512, "accelerator", **b)],
                "sub_batches": sub_batches,
            }
            for a in halves
            for b in halves
        ]
    quarters = [{"unit": unit, "engines": unit // 4, **more} for unit in (4, 16, 64)]
    return [
        {
            "stages": [
                stage("dim_4", 4096, "accelerator", **a),
                stage("dim_16", 512, "accelerator", **b),
                stage("dim_32", 128, "accelerator", **b),
            ],
            "sub_batches": sub_batches,
        }
        for a in halves
        for b in quarters
    ]


def run_grids(
    grids: Sequence[Row], qps: Sequence[float], *, seed: int, queries: int = CPU_QUERIES, **more: Any
) -> list[Cell]:
    """Every pipeline of some grids at every rate, with what the artifact's processes add (unless `more` says not)."""
    data = {"sla_ms": 100, "qps": list(qps), "queries": queries, "grids": list(grids), "processes": True}
    space = space_of(load_space(data | more))
    pending = [(candidate, space.config.qps) for candidate in space.candidates]
    return [cell for cells in run_all(space.config, pending, seed=seed) for cell in cells]


def lowest_p95(cells: Sequence[Cell], quality: float | None = ENOUGH) -> Points:
    """At each rate the lowest p95 in ms of the pipelines above a quality that keep up."""
    good = [cell for cell in cells if cell.load < 1.0 and (quality is None or (cell.quality or 0.0) > quality)]
    return [(qps, min(cell.p95_ms for cell in good if cell.qps == qps)) for qps in sorted({cell.qps for cell in good})]


def beside(ours: Mapping[str, Points], published: Mapping[str, Sequence[tuple[float, float]]]) -> list[Line]:
    """Lines of ours, and dashed ones of what was published under the same names."""
    lines = []
    for name, points in ours.items():
        lines.append(Line(name.replace(", ", " "), points))
        if name in published:
            lines.append(Line(f"{name.replace(', ', ' ')}, logged", sorted(published[name]), published=True))
    return lines


def rows_of(lines: Sequence[Line], x: str, y: str, panel: str) -> list[Row]:
    """Rows of a figure's table: panel, line, whether it was published, x and y."""
    return [
        {"panel": panel, "line": line.label.partition(",")[0], "published": int(line.published), x: a, y: b}
        for line in lines
        for a, b in line.points
    ]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A CSV of some rows, its columns all that any row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
