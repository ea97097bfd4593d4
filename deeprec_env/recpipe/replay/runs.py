"""Tables of logged runs, in the form of RecPipe's artifact: CPU and GPU engines, or units of its accelerator."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deeprec_env.errors import InputError
from deeprec_env.latency.rpaccel import NETWORKS, UNITS, rpaccel_latency_s

Device = Literal["cpu", "gpu", "accelerator"]

_SHARED_COLUMNS = (
    "stages", "models", "items", "sweep_pos", "arrival_mean_gap_ms", "num_queries", "achieved_qps", "infer_mean_s",
    "infer_p95_s", "total_mean_s", "total_p95_s",
)  # fmt: skip
CPU_GPU_COLUMNS = (*_SHARED_COLUMNS, "gpu_flags", "engines", "sort_mean_s", "stage1_avg_s")
ACCELERATOR_COLUMNS = (*_SHARED_COLUMNS, "hardconf", "counts")
MOST_STAGES = 3
_MOST = 10**7


@dataclass(frozen=True)
class LoggedStage:
    """One stage of a run: its model, the items it ranks, and its engines.

    `unit` is the size of an accelerator's unit. `service_s` is the logged mean time of a query on one engine, on CPU
    and GPU with the sort behind it.
    """

    model: str
    items: int
    device: Device
    engines: int
    service_s: float
    unit: int | None = None


@dataclass(frozen=True)
class Run:
    """One line of a table. Times in seconds, over all queries of the run; `sort_mean_s` is 0 on the accelerator."""

    line: int
    stages: tuple[LoggedStage, ...]
    sweep_pos: int
    gap_ms: float
    queries: int
    achieved_qps: float
    infer_mean_s: float
    infer_p95_s: float
    total_mean_s: float
    total_p95_s: float
    sort_mean_s: float

    @property
    def on_accelerator(self) -> bool:
        """Whether its engines are units of the accelerator."""
        return self.stages[0].device == "accelerator"

    @property
    def pipeline(self) -> tuple[tuple[str, int, str, int, int | None], ...]:
        """What the runs of one sweep have in common."""
        return tuple((stage.model, stage.items, stage.device, stage.engines, stage.unit) for stage in self.stages)


def read_runs(path: Path) -> list[Run]:
    """The runs of a table; its columns tell which of the two forms it has.

    Raises `InputError` for a file that can't be read, and names file, line, column and value of a malformed cell.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            build = _form(path, columns)
            runs = [build(_Cells(path, reader.line_num, row)) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("runs", str(path), f"must be a readable CSV file ({error})") from None
    if not runs:
        raise InputError("runs", str(path), "must hold at least one run")
    return runs


def _form(path: Path, columns: list[str]) -> Callable[[_Cells], Run]:
    accelerator = "hardconf" in columns or "counts" in columns
    needed = ACCELERATOR_COLUMNS if accelerator else CPU_GPU_COLUMNS
    missing = [column for column in needed if column not in columns]
    if missing:
        raise InputError(
            f"runs {path}", ", ".join(columns), f"lacks the column {missing[0]}; needs {', '.join(needed)}"
        )
    return _accelerator_run if accelerator else _cpu_gpu_run


class _Cells:
    """The cells of a line, each checked as it is read."""

    def __init__(self, path: Path, line: int, row: Mapping[str | None, str | list[str] | None]) -> None:
        self._path, self.line, self._row = path, line, row
        if None in row or None in row.values():
            raise InputError(f"{path} line {line}", len(row), "must have as many cells as the header")

    def wrong(self, column: str, value: object, allowed: str) -> InputError:
        """The error of one cell."""
        return InputError(f"{self._path} line {self.line}, {column}", value, allowed)

    def text(self, column: str) -> str:
        return str(self._row.get(column) or "").strip()

    def number(self, column: str, *, least: float = 0.0) -> float:
        """A finite number above 0, and at least `least`."""
        try:
            value = float(self.text(column))
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0.0 and value >= least):
            raise self.wrong(column, self.text(column), "must be a number above 0" + _at_least(least))
        return value

    def whole(self, column: str, least: int) -> int:
        return self._whole(column, self.text(column), least)

    def wholes(self, column: str, count: int) -> list[int]:
        """One whole number of at least 1 for each stage, with | between them."""
        return [self._whole(column, text, 1) for text in self.texts(column, count)]

    def texts(self, column: str, count: int) -> list[str]:
        """One text for each stage, with | between them."""
        texts = [text.strip() for text in self.text(column).split("|")]
        if len(texts) != count:
            raise self.wrong(column, self.text(column), f"must hold {count} values with | between them, one a stage")
        return texts

    def one_of(self, column: str, count: int, allowed: tuple[str, ...]) -> list[str]:
        """As `texts`, each of them one of those allowed."""
        texts = self.texts(column, count)
        if any(text not in allowed for text in texts):
            raise self.wrong(column, self.text(column), f"must be of {', '.join(allowed)}, with | between them")
        return texts

    def _whole(self, column: str, text: str, least: int) -> int:
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= _MOST:
            raise self.wrong(column, text, f"must be a whole number from {least} to {_MOST}")
        return int(text)


def _at_least(least: float) -> str:
    return f", and at least {least!r}" if least else ""


def _stage_count(cells: _Cells) -> int:
    count = cells.whole("stages", 1)
    if count > MOST_STAGES:
        raise cells.wrong("stages", count, f"must be at most {MOST_STAGES}")
    return count


def _cpu_gpu_run(cells: _Cells) -> Run:
    count = _stage_count(cells)
    models = cells.one_of("models", count, tuple(NETWORKS))
    items, engines = cells.wholes("items", count), cells.wholes("engines", count)
    devices = cells.one_of("gpu_flags", count, ("cpu", "gpu"))
    services = [cells.number(f"stage{position}_avg_s") for position in range(1, count + 1)]
    sort_mean_s = cells.number("sort_mean_s")
    if sort_mean_s >= sum(services):
        raise cells.wrong("sort_mean_s", sort_mean_s, "must be less than the stages' times, of which it is a part")
    stages = tuple(
        LoggedStage(model, size, "cpu" if device == "cpu" else "gpu", servers, service_s)
        for model, size, device, servers, service_s in zip(models, items, devices, engines, services, strict=True)
    )
    return _run(cells, stages, sort_mean_s)


def _accelerator_run(cells: _Cells) -> Run:
    count = _stage_count(cells)
    models = cells.one_of("models", count, tuple(NETWORKS))
    items, engines = cells.wholes("items", count), cells.wholes("counts", count)
    units = [int(text) for text in cells.one_of("hardconf", count, tuple(str(unit) for unit in UNITS))]
    analytic = [rpaccel_latency_s(*stage) for stage in zip(models, items, units, strict=True)]
    scale = cells.number("infer_mean_s") / sum(analytic)  # the log has the sum over the stages
    stages = tuple(
        LoggedStage(model, size, "accelerator", servers, service_s * scale, unit)
        for model, size, servers, service_s, unit in zip(models, items, engines, analytic, units, strict=True)
    )
    return _run(cells, stages, 0.0)


def _run(cells: _Cells, stages: tuple[LoggedStage, ...], sort_mean_s: float) -> Run:
    return Run(
        line=cells.line,
        stages=stages,
        sweep_pos=cells.whole("sweep_pos", 0),
        gap_ms=cells.number("arrival_mean_gap_ms"),
        queries=cells.whole("num_queries", 1),
        achieved_qps=cells.number("achieved_qps"),
        infer_mean_s=cells.number("infer_mean_s"),
        infer_p95_s=cells.number("infer_p95_s"),
        total_mean_s=cells.number("total_mean_s"),
        total_p95_s=cells.number("total_p95_s"),
        sort_mean_s=sort_mean_s,
    )
