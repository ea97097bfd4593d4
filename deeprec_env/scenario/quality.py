"""Quality tables: how good the rankings of pipelines are, measured once, as a CSV.

Columns `pipeline, stages, models, items` and `ndcg@4` to `ndcg@64`, one row a pipeline; lines that begin with # are
comments. `models` and `items` are those of its stages in order, joined by dashes; a pipeline is named after them:
dim_4@4096-dim_32@512. `deeprec quality table` writes such a table of one's own.
"""

from __future__ import annotations

import csv
import functools
import math
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from deeprec_env.errors import InputError

METRICS = ("ndcg@4", "ndcg@8", "ndcg@16", "ndcg@32", "ndcg@64")
COLUMNS = ("pipeline", "stages", "models", "items", *METRICS)

METRIC = "ndcg@64"
"""What a plan's quality is: the paper's own measure (RecPipe, MICRO 2021)."""

_SHIPPED = resources.files("deeprec_env.scenario") / "quality_tables"


@dataclass(frozen=True)
class QualityRow:
    """A measured pipeline: models and items in the order of its stages, and its metrics by name, 0 to 1."""

    pipeline: str
    models: tuple[str, ...]
    items: tuple[int, ...]
    metrics: dict[str, float]


def pipeline_name(models: tuple[str, ...], items: tuple[int, ...]) -> str:
    """What a pipeline of these models and items, in the order of its stages, is called."""
    return "-".join(f"{model}@{count}" for model, count in zip(models, items, strict=True))


def quality_tables() -> list[str]:
    """Names of the shipped tables."""
    return sorted(entry.name.removesuffix(".csv") for entry in _SHIPPED.iterdir() if entry.name.endswith(".csv"))


def quality_path(table: str, base_dir: str | Path) -> str:
    """A shipped table's name as it is; a path relative to `base_dir`, in full."""
    return table if table in quality_tables() else str((Path(base_dir) / table).resolve())


def quality_file(table: str) -> Traversable:
    """The file of a table, given by a shipped one's name or a path."""
    return _SHIPPED / f"{table}.csv" if table in quality_tables() else Path(table)


def quality_of(table: str, pipeline: str) -> float:
    """The `METRIC` of a pipeline in a table (shipped name or path); `InputError` if it is not in it."""
    rows = read_quality(table)
    if pipeline not in rows:
        known = ", ".join(rows) if len(rows) <= 8 else f"{', '.join(list(rows)[:8])}, ... ({len(rows)} in all)"
        raise InputError("quality_table", table, f"lacks {pipeline}; it holds {known}")
    return rows[pipeline].metrics[METRIC]


def read_quality(table: str | Path) -> dict[str, QualityRow]:
    """The rows of a table (a shipped one's name, or a path) by pipeline; `InputError` names the line that is wrong."""
    name = str(table)
    return dict(_shipped(name)) if name in quality_tables() else _rows(name, Path(table))


@functools.cache
def _shipped(name: str) -> dict[str, QualityRow]:
    return _rows(name, _SHIPPED / f"{name}.csv")


def _rows(name: str, source: Traversable) -> dict[str, QualityRow]:
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        allowed = f"must be a readable CSV or one of {', '.join(quality_tables())} ({error})"
        raise InputError("quality_table", name, allowed) from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(number, line) for number, line in lines if not line.startswith("#")]
    columns = next(csv.reader([lines[0][1]])) if lines else []
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise InputError(f"quality table {name}", columns, f"lacks the column {missing[0]}; needs {', '.join(COLUMNS)}")
    rows: dict[str, QualityRow] = {}
    for number, line in lines[1:]:
        where = f"quality table {name} line {number}"
        row = _row(where, dict(zip(columns, next(csv.reader([line])), strict=False)))
        if row.pipeline in rows:
            raise InputError(f"{where}, pipeline", row.pipeline, "must be there once")
        rows[row.pipeline] = row
    if not rows:
        raise InputError(f"quality table {name}", "no rows", "must hold at least one row")
    return rows


def _row(where: str, fields: dict[str, str]) -> QualityRow:
    short = [column for column in COLUMNS if column not in fields]
    if short:
        raise InputError(where, ",".join(fields.values()), f"lacks {short[0]}")
    models = tuple(fields["models"].split("-"))
    items = tuple(_whole(f"{where}, items", part) for part in fields["items"].split("-"))
    if not len(models) == len(items) == _whole(f"{where}, stages", fields["stages"]):
        raise InputError(f"{where}, stages", fields["stages"], "must be the number of models and of items")
    if fields["pipeline"] != pipeline_name(models, items):
        raise InputError(f"{where}, pipeline", fields["pipeline"], f"must be {pipeline_name(models, items)}")
    metrics = {metric: _share(f"{where}, {metric}", fields[metric]) for metric in METRICS}
    return QualityRow(fields["pipeline"], models, items, metrics)


def _whole(where: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise InputError(where, text, "must be a whole number of at least 1")
    return int(text)


def _share(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise InputError(where, text, "must be a number from 0 to 1")
    return value
