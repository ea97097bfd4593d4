"""Profile tables: measured latencies as a CSV with a header that says where they come from."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deeprec_env.errors import InputError
from deeprec_env.files import replacing

LEVELS = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
"""Quantile levels of every profile row."""

FURTHER = 0.999
"""A level more, which older files lack: beyond it latencies have a tail, where older ones are cut."""

QUANTILES = tuple(f"p{round(100 * level):02d}_ms" for level in LEVELS)
FURTHER_QUANTILE = "p999_ms"
COLUMNS = ("model", "device", "batch", "part", "repeats", "mean_ms", *QUANTILES)
THREADS = "threads"
PARTS = ("compute", "load")


@dataclass(frozen=True)
class ProfileRow:
    """Latency in milliseconds of one batch size of a model on a device.

    `part` is "compute", or "load" (host to device). `quantiles_ms` holds one value for each of `LEVELS`, ascending, and
    one more at level `FURTHER` where it was recorded (of fewer than a thousand repeats it is little below the longest).
    `threads` are those of the request, in the file a column where its header does not say it.
    """

    model: str
    device: str
    batch: int
    part: str
    repeats: int
    mean_ms: float
    quantiles_ms: tuple[float, ...]
    threads: int = 1

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of its quantiles."""
        return (*LEVELS, FURTHER)[: len(self.quantiles_ms)]


@dataclass(frozen=True)
class ProfileTable:
    """Rows of a profile file, and its header (machine, torch version, threads, ...)."""

    header: dict[str, str]
    rows: tuple[ProfileRow, ...]

    def models(self) -> list[str]:
        """Names of the models measured, in file order."""
        return list(dict.fromkeys(row.model for row in self.rows))


def write_profile(path: Path, header: Mapping[str, str], rows: Iterable[ProfileRow]) -> None:
    """Write a profile file, whole or not at all; floats to six significant digits."""
    rows = tuple(rows)
    with_threads = any(row.threads != _threads_of(header) for row in rows)
    most = max((len(row.quantiles_ms) for row in rows), default=len(LEVELS))
    further = [FURTHER_QUANTILE] * (most - len(LEVELS))
    with replacing(path) as file:
        for key, value in header.items():
            file.write(f"# {key}: {value}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *further, *([THREADS] if with_threads else [])])
        for row in rows:
            values = (row.mean_ms, *row.quantiles_ms)
            figures = [f"{value:.6g}" for value in values] + [""] * (most - len(row.quantiles_ms))
            threads = [row.threads] if with_threads else []
            writer.writerow([row.model, row.device, row.batch, row.part, row.repeats, *figures, *threads])


def _threads_of(header: Mapping[str, str]) -> int | None:
    """The thread count of all rows, where the header says one; without any word of it, 1."""
    text = header.get(THREADS, "1")
    return int(text) if text.isascii() and text.isdecimal() else None


def read_profile(path: Path) -> ProfileTable:
    """Read a profile file; `InputError` names the line and column of what is wrong with it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("profile", str(path), f"must be a readable profile CSV ({error})") from None
    header: dict[str, str] = {}
    body: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            header[key.strip()] = value.strip()
        elif line.strip():
            body.append((number, line))
    columns = next(csv.reader([body[0][1]])) if body else []
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise InputError(f"profile {path.name}", columns, f"lacks the column {missing[0]}; needs {', '.join(COLUMNS)}")
    of_all = {} if THREADS in columns else {THREADS: str(_threads_of(header) or "")}
    rows = tuple(
        _row(path, number, of_all | dict(zip(columns, next(csv.reader([line])), strict=False)))
        for number, line in body[1:]
    )
    if not rows:
        raise InputError(f"profile {path.name}", "no rows", "must hold at least one row")
    return ProfileTable(header, rows)


def _row(path: Path, number: int, fields: Mapping[str, str]) -> ProfileRow:
    def where(column: str) -> str:
        return f"profile {path.name} line {number}, {column}"

    def whole(column: str) -> int:
        text = fields.get(column, "")
        if not (text.isascii() and text.isdecimal()) or int(text) < 1:
            raise InputError(where(column), text, "must be a whole number of at least 1")
        return int(text)

    def positive(column: str) -> float:
        text = fields.get(column, "")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise InputError(where(column), text, "must be a positive number of milliseconds")
        return value

    recorded = (*QUANTILES, FURTHER_QUANTILE) if fields.get(FURTHER_QUANTILE) else QUANTILES
    quantiles = tuple(positive(column) for column in recorded)
    for before, after, column in zip(quantiles, quantiles[1:], recorded[1:], strict=False):
        if after < before:
            raise InputError(where(column), after, f"quantiles must ascend; the one before is {before!r}")
    if fields["part"] not in PARTS:
        raise InputError(where("part"), fields["part"], f"must be one of {', '.join(PARTS)}")
    return ProfileRow(
        fields["model"],
        fields["device"],
        whole("batch"),
        fields["part"],
        whole("repeats"),
        positive("mean_ms"),
        quantiles,
        whole(THREADS),
    )
